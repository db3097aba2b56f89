"""What a schedule costs: its programs are lowered and timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from compiler_core.units.aim.lower.elements import element_launch
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import MatrixVectorLaunch, launches
from compiler_core.units.aim.machine.machine import BLOCK_BYTES, AimMachine
from compiler_core.units.aim.program.instructions import Records
from compiler_core.units.aim.schedule.schedule import (
    ElementSchedule,
    ProductSchedule,
    Schedule,
    Side,
)
from compiler_core.units.aim.schedule.workload import ElementProduct, Workload
from compiler_core.units.aim.simulate.energy import energy_of
from compiler_core.units.aim.simulate.timing import TimingResult, time_program
from compiler_core.units.unit import TaskCost


def measure(workload: Workload, schedule: Schedule, machine: AimMachine) -> TaskCost:
    """Cycles, energy and traffic of all launches of a schedule.

    Transfers between the CPU and general registers, and what the CPU computes, take no cycles of
    the unit; their blocks stand under ``cpu``.

    Raises:
        InfeasibleError: It is not legal.
        TypeError: It is for another kind of workload.
    """
    if isinstance(workload, ElementProduct) and isinstance(schedule, ElementSchedule):
        records = element_launch(workload, schedule, machine).program.records
        crossing = {}
        if workload.crosses:
            crossing = {
                "registers_in_blocks": 2 * workload.blocks,
                "registers_out_blocks": workload.blocks,
            }
        return _total([(1, records, time_program(records, machine))], machine, crossing)
    assert isinstance(schedule, ProductSchedule), f"{schedule} is for another kind of workload"
    assert not isinstance(workload, ElementProduct), f"{schedule} is for another kind of workload"
    found = launches(BankLayout(workload, schedule), machine)
    # Launches of equal extents are timed once.
    counts = Counter(_key(launch) for launch in found)
    first = {_key(launch): launch for launch in reversed(found)}
    timed = []
    for key, count in counts.items():
        records = first[key].program.records
        timed.append((count, records, time_program(records, machine)))
    blocks = {
        "registers_in_blocks": sum(
            x.input_registers
            + (x.result_registers if workload.bias else x.zero_registers)
            + len(x.written)
            for x in found
        ),
        "registers_out_blocks": sum(_results(x) for x in found),
        "sums_blocks": _sums(found, schedule),
    }
    return _total(timed, machine, blocks)


def _key(launch: MatrixVectorLaunch) -> tuple[int, ...]:
    """What the cycles of a launch depend on."""
    extent, m = launch.extent, launch.layout.mapping
    heads = launch.layout.workload.heads - extent.rounds.start * launch.layout.schedule.heads
    short = heads if extent.rounds.stop == m.rounds else 0
    written = launch.written.start, launch.written.stop
    return len(extent.vectors), len(extent.passes), extent.passes.start % m.copies, short, *written


def _results(launch: MatrixVectorLaunch) -> int:
    s = launch.layout.schedule
    shared = s.reduction is Side.UNIT and s.groups > 1
    return launch.result_registers // (s.groups if shared else 1)


def _sums(found: tuple[MatrixVectorLaunch, ...], schedule: ProductSchedule) -> int:
    """Blocks that the CPU adds."""
    if schedule.reduction is Side.UNIT:
        return 0
    return sum(x.result_registers for x in found) * (schedule.groups - 1) // schedule.groups


def _total(
    timed: list[tuple[int, Records, TimingResult]], machine: AimMachine, cpu: Mapping[str, int]
) -> TaskCost:
    commands: Counter[str] = Counter()
    cycles, energy_pj, active, idle = 0, 0.0, 0, 0
    for count, records, timing in timed:
        cycles += count * timing.cycles
        energy_pj += count * energy_of(records, timing, machine).total_pj
        active += count * timing.active_cycles
        idle += count * timing.idle_cycles
        for name, issued in timing.commands.items():
            commands[name] += count * issued
    channels = {"active_cycles": active, "idle_cycles": idle, "launches": sum(n for n, *_ in timed)}
    modules = {"channels": channels, "commands": dict(commands)}
    if cpu:
        modules["cpu"] = dict(cpu)
    return TaskCost(cycles, energy_pj, moved_bytes(commands), modules)


def moved_bytes(commands: Mapping[str, int]) -> dict[str, int]:
    """Bytes between registers and channels, by what they are; without those that no program
    writes.

    Args:
        commands: How often each was issued.
    """

    def moved(*names: str) -> int:
        return sum(commands.get(name, 0) for name in names) * BLOCK_BYTES

    found = {
        "buffer": moved("WRGB"),
        "bias": moved("WRMAC16"),
        "results": moved("RDMAC16", "RDAF16", "RD"),
    }
    written = moved("WR", "WRA16")
    return {**found, "matrix": written} if written else found
