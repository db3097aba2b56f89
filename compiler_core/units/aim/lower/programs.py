"""The programs of a task where it lies, whatever it is."""

from __future__ import annotations

from compiler_core.units.aim.lower.elements import ElementLaunch, require_legal
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import launches
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.schedule.schedule import ElementSchedule, ProductSchedule, Schedule
from compiler_core.units.aim.schedule.workload import ElementProduct, Workload

Located = BankLayout | ElementLaunch
"""A workload, its schedule and its rows."""


def located(workload: Workload, schedule: Schedule, first_row: int) -> Located:
    """A workload in rows from one on.

    Raises:
        TypeError: The schedule is for another kind of workload.
    """
    if isinstance(workload, ElementProduct) and isinstance(schedule, ElementSchedule):
        return ElementLaunch(workload, schedule, first_row)
    if isinstance(workload, ElementProduct) or not isinstance(schedule, ProductSchedule):
        raise TypeError(f"{type(schedule).__name__} does not schedule {workload.operator}")
    return BankLayout(workload, schedule, first_row)


def programs_of(layout: Located, machine: AimMachine) -> tuple[Program, ...]:
    """Programs that run one after another.

    Raises:
        InfeasibleError: The schedule is not legal.
    """
    if isinstance(layout, ElementLaunch):
        require_legal(layout.workload, layout.schedule, machine)
        return (layout.program,)
    return tuple(launch.program for launch in launches(layout, machine))
