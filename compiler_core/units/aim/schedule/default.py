"""Untuned schedules: the obvious mapping, all channels over the outputs."""

from __future__ import annotations

from compiler_core.errors import InfeasibleError
from compiler_core.units.aim.machine.machine import GROUPS, LANES, AimMachine
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import ElementSchedule, ProductSchedule, Schedule
from compiler_core.units.aim.schedule.workload import ElementProduct, Workload


def default_schedule(workload: Workload, machine: AimMachine) -> Schedule:
    """The obvious schedule of a workload.

    Raises:
        InfeasibleError: None fits.
    """
    if isinstance(workload, ElementProduct):
        found: Schedule = ElementSchedule(min(machine.channels, max(1, workload.blocks)), GROUPS)
        _require(workload, found, machine)
        return found
    heads = min(workload.heads, machine.channels)
    sixteens = max(1, -(-workload.outputs // LANES))
    channels = max(1, min(machine.channels // heads, sixteens))
    found = ProductSchedule(groups=1, channels=channels, heads=heads)
    while violations(workload, found, machine) and heads > 1:
        heads //= 2
        found = ProductSchedule(
            groups=1, channels=max(1, min(machine.channels // heads, sixteens)), heads=heads
        )
    _require(workload, found, machine)
    return found


def _require(workload: Workload, schedule: Schedule, machine: AimMachine) -> None:
    found = violations(workload, schedule, machine)
    if found:
        raise InfeasibleError(
            f"no obvious schedule of {workload.operator} {workload.shape}: {found[0]}"
        )
