"""Schedules of VTA layers, whole or cut over cores, and what they cost: the facet
:class:`~compiler_core.units.unit.Tasks`."""

from __future__ import annotations

from dataclasses import asdict

from compiler_core.tensor.workload import Workload
from compiler_core.units.unit import TaskBound, TaskCost
from compiler_core.units.violation import Violation
from compiler_core.units.vta.cores.alike import (
    MEMORIES,
    MODULES,
    bound_alike,
    cost_alike,
    default_alike,
    violations_alike,
)
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload

AnyWorkload = Workload | SlicedWorkload


class VtaTasks:
    """See :class:`~compiler_core.units.unit.Tasks`."""

    def default(self, workload: AnyWorkload, machine: VtaCore) -> Schedule:
        if isinstance(workload, SlicedWorkload):
            return default_alike(workload, machine)
        return default_schedule(workload, machine)

    def violations(
        self, workload: AnyWorkload, schedule: Schedule, machine: VtaCore
    ) -> tuple[Violation, ...]:
        if isinstance(workload, SlicedWorkload):
            return violations_alike(workload, schedule, machine.geometry)
        return violations(workload, schedule, machine.geometry)

    def bound(self, workload: AnyWorkload, machine: VtaCore) -> TaskBound:
        if isinstance(workload, SlicedWorkload):
            return bound_alike(workload, machine)
        found = lower_bound(workload, machine)
        return TaskBound(found.cycles, found.limited_by)

    def measure(self, workload: AnyWorkload, schedule: Schedule, machine: VtaCore) -> TaskCost:
        if isinstance(workload, SlicedWorkload):
            return cost_alike(workload, schedule, machine)
        timing = measure_layer(workload, schedule, machine)
        return TaskCost(
            timing.cycles,
            timing.energy_pj,
            {name: getattr(timing.traffic, name).data_bytes for name in MEMORIES},
            {name: asdict(getattr(timing, name)) for name in MODULES},
        )


TASKS = VtaTasks()
