"""Raw programs: the facet :class:`~compiler_core.units.simulation.Simulation`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.errors import CheckError, InternalError
from compiler_core.units.aim.machine.machine import BANKS, BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.aim.program.instructions import Opcode, Program, Records
from compiler_core.units.aim.program.program_file import ProgramFile, read_program_file
from compiler_core.units.aim.program.sample_program import CYCLES, OUTPUT, sample_program
from compiler_core.units.aim.simulate.activation import Function
from compiler_core.units.aim.simulate.energy import ORIGIN, SOURCE, Energy, energy_of
from compiler_core.units.aim.simulate.numbers import to_bits, to_float
from compiler_core.units.aim.simulate.timeline import timeline, tracks
from compiler_core.units.aim.simulate.timing import TimingResult, time_program
from compiler_core.units.aim.tool.simulate import simulate
from compiler_core.units.simulation import CounterTable, RefusedProgram, SimulatedProgram

RULES = "gddr6-aim"


class AimSimulation:
    """See :class:`~compiler_core.units.simulation.Simulation`."""

    profiles: tuple[str, ...] = ()

    def run(
        self,
        path: Path,
        machine: AimMachine,
        *,
        profile: str | None = None,
        memory_bytes: int | None = None,
        trace: bool = False,
    ) -> SimulatedProgram:
        del profile  # there are no others
        file = read_program_file(path, machine)
        warnings = _warnings(file, memory_bytes)
        result = simulate(file, machine, log=trace)
        count = len(file.program)
        if result.findings:
            first = result.findings[0]
            refused = RefusedProgram(
                first.finding_class.value, first.message, first.advice, first.instruction
            )
            return SimulatedProgram(count, 0, RULES, warnings, refused)
        timing, memory = result.timing, result.memory
        assert timing is not None
        assert memory is not None
        records = file.program.records
        energy = energy_of(records, timing, machine)
        return SimulatedProgram(
            count,
            0,
            RULES,
            warnings,
            cycles=timing.cycles,
            arrays=memory.afterwards(),
            summary=_summary(count, timing, energy),
            counters=_counters(timing, energy),
            tables=(_commands(timing), _activity(timing)),
            tracks=tracks(machine),
            slices=partial(timeline, records, timing, machine) if trace else None,
        )

    def cycles(self, instructions: Records, machine: AimMachine) -> int:
        return time_program(instructions, machine).cycles

    def check(self, machine: AimMachine) -> str:
        program, weights, vector, expected = sample_program()
        blocks = to_bits(weights).reshape(BANKS, -1, LANES)
        columns = blocks.shape[1]
        banks, places = np.divmod(np.arange(BANKS * columns), columns)
        zeros = np.zeros_like(banks)
        file = ProgramFile(
            program,
            np.stack([zeros, banks, zeros, places], axis=1),
            blocks.reshape(-1, LANES),
            np.arange(columns),
            to_bits(vector).reshape(-1, LANES),
        )
        result = simulate(file, machine)
        if result.findings:
            raise CheckError(f"the built-in program is refused: {result.findings[0].message}")
        assert result.timing is not None
        assert result.memory is not None
        if not np.array_equal(to_float(result.memory.registers[OUTPUT]), expected):
            raise CheckError("the built-in program gives wrong numbers")
        own = machine.timing == AimMachine().timing
        if own and result.timing.cycles != CYCLES:
            raise CheckError(
                f"the built-in program takes {result.timing.cycles} cycles; {CYCLES} are right"
            )
        return f"built-in product: 16 numbers equal to NumPy, {result.timing.cycles:,} cycles"


SIMULATION = AimSimulation()


def _warnings(file: ProgramFile, memory_bytes: int | None) -> tuple[str, ...]:
    found = []
    if memory_bytes is not None:
        found.append("a size of memory means nothing here: banks are as large as the target says")
    if _uses_undefined(file.program):
        found.append(f"activation function {Function.UNDEFINED.value} is undefined: it gives NaN")
    return tuple(found)


def _uses_undefined(program: Program) -> bool:
    records = program.records
    chosen = (records["op"] == Opcode.W_CFR) & (records["gpr"] == 2)
    return bool((records["value"][chosen] == Function.UNDEFINED).any())


def _summary(instructions: int, timing: TimingResult, energy: Energy) -> str:
    issued = sum(timing.commands.values())
    used = timing.commands.get("MAC16", 0) * 2 / (timing.cycles * int(timing.requests.sizes.sum()))
    return (
        f"{instructions} instructions, {issued:,} commands, MAC units {100 * used:.1f} % used, "
        f"{energy.total_pj * 1e-6:.3f} µJ ({ORIGIN})"
    )


def _counters(timing: TimingResult, energy: Energy) -> dict[str, Any]:
    if timing.requests.sizes.sum() < 1:
        raise InternalError("a machine without channels")
    return {
        "commands": dict(timing.commands),
        "active_cycles": timing.active_cycles,
        "precharged_cycles": timing.precharged_cycles,
        "idle_cycles": timing.idle_cycles,
        "energy_mj": energy.total_pj * 1e-9,
        "energy_pj": asdict(energy) | {"total_pj": energy.total_pj},
        "energy_origin": ORIGIN,
        "energy_source": SOURCE,
        "bus_bytes": _bus_blocks(timing) * BLOCK_BYTES,
    }


def _bus_blocks(timing: TimingResult) -> int:
    names = ("RD", "WR", "WRGB", "RDMAC16", "RDAF16", "WRMAC16", "WRA16")
    return sum(timing.commands.get(name, 0) for name in names)


def _commands(timing: TimingResult) -> CounterTable:
    rows = tuple((name, (count,)) for name, count in timing.commands.items())
    return CounterTable("commands of all channels", ("command", "issued"), rows)


def _activity(timing: TimingResult) -> CounterTable:
    rows = (
        ("row open", (timing.active_cycles,)),
        ("precharged", (timing.precharged_cycles,)),
        ("idle", (timing.idle_cycles,)),
    )
    return CounterTable("steps of all channels", ("state", "cycles"), rows)
