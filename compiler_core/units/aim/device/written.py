"""A matrix in the banks that runs write: which of its rows the next run has to write, and where.

A run writes as many rows as its workload says. Where more differ from what the banks hold, as when
somebody starts another text, the whole matrix is loaded before, as constants are: no program of the
run does that, and none of its cycles is for it.

A window that slides moves no rows of outputs: the new row takes the place of the oldest, and
results are told in the order of the window. Each output is summed by itself, so that no bit depends
on how far it has slid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import MatrixVectorLaunch, launches
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.schedule.schedule import Order
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.numbers import Bits

Floats = npt.NDArray[np.float32]


class Holder(Protocol):
    """Whose banks they are."""

    machine: AimMachine
    memory: BankMemory


class WrittenRows:
    """What the banks hold of the matrices of a product.

    Args:
        layout: Of the product.
        device: Where; its banks hold zero there.
    """

    def __init__(self, layout: BankLayout, device: Holder) -> None:
        w = layout.workload
        self._layout, self._device = layout, device
        self._held = np.zeros((w.heads, w.outputs, w.inputs), np.uint16)
        self._slid = 0
        # Of several chunks, an output's place may say in which order they are summed.
        alike = layout.mapping.chunks == 1 or layout.schedule.order is not Order.SERPENTINE
        self._slides = bool(w.written_outputs) and alike
        self._made: dict[tuple[int, ...], tuple[MatrixVectorLaunch, ...]] = {}

    def launches(self, matrix: Bits) -> tuple[Sequence[MatrixVectorLaunch], Sequence[Program]]:
        """The launches of a run, which write what differs.

        Args:
            matrix: ``uint16[heads, outputs, inputs]``.
        """
        places = self._differing(matrix)
        w = self._layout.workload
        count = w.written_outputs or w.written_inputs
        if len(places) > count:
            addresses, blocks = self._layout.weights(self._held)
            self._device.memory.load_banks(addresses, blocks)
            places = []
        # As many as there are in every run: others are written again, as they are.
        rows = w.outputs if w.written_outputs else w.inputs
        others = (row for row in range(rows) if row not in places)
        chosen = tuple(sorted([*places, *(next(others) for _ in range(count - len(places)))]))
        found = self._made.get(chosen)
        if found is None:
            found = self._made[chosen] = launches(self._layout, self._device.machine, chosen)
        return found, [launch.program for launch in found]

    def _differing(self, matrix: Bits) -> list[int]:
        """Rows in which the banks hold something else; they are taken as held from now on."""
        w = self._layout.workload
        slides = [self._slid]
        if self._slides:
            slides.append((self._slid + w.written_outputs) % w.outputs)
        found = []
        for slid in slides:
            own = np.roll(matrix, slid, axis=1)
            axes = (0, 2) if w.written_outputs else (0, 1)
            rows = np.flatnonzero((own != self._held).any(axis=axes)).tolist()
            found.append((len(rows), rows, slid, own))
        _, rows, self._slid, own = min(found, key=lambda item: item[0])
        self._held = own.copy()
        return rows

    def registers(self, launch: MatrixVectorLaunch) -> Bits:
        """What the registers hold that a launch writes to the banks."""
        assert launch.writes is not None or not launch.written
        if launch.writes is None:
            return np.zeros((0, 16), np.uint16)
        return launch.writes.blocks(self._held)[launch.written.start : launch.written.stop]

    def in_order(self, results: Floats) -> Floats:
        """Results, ``float32[vectors, heads, outputs]``, as the matrix came."""
        return np.roll(results, -self._slid, axis=2) if self._slid else results
