"""Schedules and what they cost: the facet :class:`~compiler_core.units.unit.Tasks`."""

from __future__ import annotations

from compiler_core.units.aim.lower.measure import measure
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.schedule.bound import workload_bound
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import Schedule
from compiler_core.units.aim.schedule.workload import Workload
from compiler_core.units.unit import TaskBound, TaskCost
from compiler_core.units.violation import Violation


class AimTasks:
    """See :class:`~compiler_core.units.unit.Tasks`."""

    def default(self, workload: Workload, machine: AimMachine) -> Schedule:
        return default_schedule(workload, machine)

    def violations(
        self, workload: Workload, schedule: Schedule, machine: AimMachine
    ) -> tuple[Violation, ...]:
        return violations(workload, schedule, machine)

    def bound(self, workload: Workload, machine: AimMachine) -> TaskBound:
        return workload_bound(workload, machine)

    def measure(self, workload: Workload, schedule: Schedule, machine: AimMachine) -> TaskCost:
        return measure(workload, schedule, machine)


TASKS = AimTasks()
