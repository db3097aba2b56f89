"""A device with matrices in its banks, which stay there from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.units.aim.device.written import WrittenRows
from compiler_core.units.aim.lower.elements import ElementLaunch
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import MatrixVectorLaunch, launches
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.schedule.schedule import ProductSchedule, Side
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.activation import activated
from compiler_core.units.aim.simulate.functional import Executor
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.numbers import Bits, to_bits, to_float
from compiler_core.units.aim.simulate.timing import time_program

Floats = npt.NDArray[np.float32]


class Device:
    """Banks that matrices are laid into one after another.

    Args:
        machine: The device.

    Attributes:
        memory: What programs read and write.
        cycles: Of all programs so far.
    """

    def __init__(self, machine: AimMachine) -> None:
        self.machine = machine
        self.memory = BankMemory(machine)
        self.cycles = 0
        self._executor = Executor(self.memory)
        self._rows = 0
        self._times: WeakKeyDictionary[Program, int] = WeakKeyDictionary()

    def reserve(self, workload: MatrixVector, schedule: ProductSchedule) -> BankLayout:
        """Rows for the matrices of a product, which nothing else holds.

        Raises:
            InfeasibleError: There are no such rows left, or the schedule is not legal.
        """
        layout = BankLayout(workload, schedule, first_row=self._rows)
        end = self._rows + layout.mapping.rows
        if end > self.machine.rows:
            raise InfeasibleError(
                f"{workload.operator} {workload.shape}: rows {self._rows} to {end - 1} are needed; "
                f"{self.machine.rows} rows are there",
                hint="a schedule with more channels needs fewer rows",
            )
        launches(layout, self.machine)
        self._rows = end
        return layout

    def run(self, program: Program) -> None:
        """Executes a program and counts its cycles."""
        self._executor.run(program.records)
        if program not in self._times:
            self._times[program] = time_program(program.records, self.machine).cycles
        self.cycles += self._times[program]


class ResidentProduct:
    """A product whose matrices lie in the banks.

    Args:
        device: Where.
        workload: What is computed.
        schedule: How.
        matrix: ``float32[heads, outputs, inputs]``; ``None`` for one that is written later.
        bias: ``float32[heads, outputs]``.
        layout: Where; rows that nothing else holds by default.
        given: Its programs, those of its layout by default.

    Raises:
        InfeasibleError: It does not fit.
    """

    def __init__(
        self,
        device: Device,
        workload: MatrixVector,
        schedule: ProductSchedule,
        matrix: npt.NDArray[Any] | None,
        bias: npt.NDArray[Any] | None = None,
        *,
        layout: BankLayout | None = None,
        given: Sequence[Program] = (),
    ) -> None:
        self.layout = layout or device.reserve(workload, schedule)
        self._device = device
        self._launches = launches(self.layout, device.machine)
        self._programs = tuple(given) or tuple(launch.program for launch in self._launches)
        if matrix is not None:
            device.memory.load_banks(*self.layout.weights(to_bits(matrix)))
        begun = np.zeros((workload.heads, workload.outputs)) if bias is None else bias
        self._biases = self.layout.biases(begun)
        w = self.layout.workload
        self._rows = WrittenRows(self.layout, device) if w.is_written else None

    @property
    def programs(self) -> tuple[Program, ...]:
        """What one run executes."""
        return self._programs

    def run(self, vectors: npt.NDArray[Any], matrix: Bits | None = None) -> Floats:
        """Products with vectors.

        Args:
            vectors: ``float32[vectors, heads, inputs]``.
            matrix: ``uint16[heads, outputs, inputs]``, where runs write it: what differs from the
                run before is written.

        Returns:
            ``float32[vectors, heads, outputs]``, with activations; what the CPU does it does in
            float32.
        """
        w, m = self.layout.workload, self.layout.mapping
        wanted = (w.vectors, w.heads, w.inputs)
        if np.shape(vectors) != wanted:
            raise InputError(f"vectors of shape {np.shape(vectors)}; {wanted} is needed")
        blocks = self.layout.inputs(vectors)
        found = np.zeros((w.vectors, m.rounds, m.passes, m.used, 16), np.uint16)
        launches: Sequence[MatrixVectorLaunch] = self._launches
        programs: Sequence[Program] = self._programs
        if self._rows is not None:
            assert matrix is not None, "a matrix that runs write comes with them"
            launches, programs = self._rows.launches(matrix)
        for launch, program in zip(launches, programs, strict=True):
            self._write(launch, blocks)
            self._device.run(program)
            for v, r, p in _places(launch):
                first = launch.result(v, r, p)
                found[v, r, p] = self._device.memory.registers[first : first + m.used]
        results = self._finished(self.layout.results(found))
        return results if self._rows is None else self._rows.in_order(results)

    def _write(self, launch: MatrixVectorLaunch, blocks: Bits) -> None:
        registers, s = self._device.memory.registers, self.layout.schedule
        registers[launch.input_registers : launch.first_result] = 0
        extent, w = launch.extent, self.layout.workload
        last = min(w.heads, extent.rounds.stop * s.heads)
        for v in extent.vectors:
            for head in range(extent.rounds.start * s.heads, last):
                first = launch.input(v, head, 0)
                registers[first : first + self.layout.input_blocks] = blocks[v, head]
        if w.bias:
            for v, r, p in _places(launch):
                first = launch.result(v, r, p)
                registers[first : first + self.layout.mapping.used] = self._biases[r, p]
        if self._rows is not None:
            first = launch.first_written
            registers[first : first + len(launch.written)] = self._rows.registers(launch)

    def _finished(self, results: Floats) -> Floats:
        """What the CPU does with results of groups."""
        s, w = self.layout.schedule, self.layout.workload
        total = results[0]
        if s.reduction is Side.CPU:
            for part in results[1:]:
                total = total + part
        if w.activations and s.activation is Side.CPU:
            parts = np.split(total, w.parts, axis=-1)
            pairs = zip(parts, w.activations, strict=True)
            total = np.concatenate([activated(y, f.function) for y, f in pairs], axis=-1)
        return np.asarray(total, np.float32)


class ResidentElements:
    """A product of two vectors, element by element.

    Args:
        device: Where.
        layout: Of the product, in rows that nothing else holds.
        given: Its program, that of its layout by default.
    """

    def __init__(
        self, device: Device, layout: ElementLaunch, given: Sequence[Program] = ()
    ) -> None:
        self._device, self._layout = device, layout
        (self._program,) = tuple(given) or (layout.program,)

    def run(self, vectors: npt.NDArray[Any], other: Bits | None = None) -> Floats:
        """Products of elements.

        Args:
            vectors: ``float32[1, 1, elements]``.
            other: ``uint16[1, 1, elements]``, the second factor.
        """
        assert other is not None, "two vectors are multiplied"
        layout, registers = self._layout, self._device.memory.registers
        blocks = layout.workload.blocks
        registers[:blocks] = layout.blocks(vectors.reshape(-1))
        registers[blocks : 2 * blocks] = layout.blocks(to_float(other).reshape(-1))
        self._device.run(self._program)
        found = to_float(registers[layout.registers]).reshape(1, 1, -1)
        return np.array(found[..., : layout.workload.elements])


def _places(launch: MatrixVectorLaunch) -> list[tuple[int, int, int]]:
    extent = launch.extent
    return [(v, r, p) for v in extent.vectors for r in extent.rounds for p in extent.passes]
