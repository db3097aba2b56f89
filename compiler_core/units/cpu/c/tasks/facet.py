"""Schedules of kernels and what they cost: the facet :class:`~compiler_core.units.unit.Tasks`.

A cost is in instructions, counted one by one in an emulator of the core. Where it says cycles, they
are meant.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from compiler_core.errors import InfeasibleError
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.bundles.by_clock import costs_ns, time_programs
from compiler_core.units.cpu.c.library.place import require_library
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.schedules.estimate import workload_least
from compiler_core.units.cpu.c.schedules.legality import units_of, violations
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule, KernelUnit, choices_in
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload, network_of
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from compiler_core.units.unit import TaskBound, TaskCost
from compiler_core.units.violation import Violation

_ROUNDS = 15
_BUDGET_S = 1.0
"""Of the kernels of one operator by the clock."""


class KernelTasks:
    """See :class:`~compiler_core.units.unit.Tasks`."""

    def default(self, workload: KernelWorkload, machine: KernelMachine) -> KernelSchedule:
        network = network_of(workload)
        return choices_in(network, network.operators[0], machine.core)[0]

    def violations(
        self, workload: KernelWorkload, schedule: KernelSchedule, machine: KernelMachine
    ) -> tuple[Violation, ...]:
        return violations(workload, schedule, machine.core, library=bool(machine.library))

    def bound(self, workload: KernelWorkload, machine: KernelMachine) -> TaskBound:
        vectors = KernelUnit.MVE in units_of(machine.core)
        return TaskBound(workload_least(workload, vectors), "products")

    def measure(
        self, workload: KernelWorkload, schedule: KernelSchedule, machine: KernelMachine
    ) -> TaskCost:
        if found := self.violations(workload, schedule, machine):
            raise InfeasibleError(f"schedule for {workload.operator}: {found[0]}")
        if schedule.unit.is_library:
            require_library(machine.library, f"schedule for {workload.operator}")
        core = cores.core_of(machine.core)
        (counted,) = measured_alone(network_of(workload), [schedule], core)
        return TaskCost(max(1, round(counted)), None, {})


def measured_alone(
    network: Network, schedules: Sequence[KernelSchedule], core: cores.Core
) -> list[float]:
    """What one run of a network of one operator takes by each of some schedules: instructions, or
    nanoseconds on this machine where nothing counts. By the clock they are timed together, and one
    that is not told apart from the first costs the same.

    Raises:
        MissingDependencyError: Compiler or emulator are not installed.
        CheckError: The program cannot be built or run.
    """
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        folders, counted = {}, []
        for number, schedule in enumerate(schedules):
            bundle = scheduled_bundle(network, "alone", {network.outputs[0]: schedule})
            folders[str(number)] = folder = Path(scratch) / str(number)
            folder.mkdir()
            write_sources_of(bundle, folder)
            if core.tick:
                steps = len(bundle.sources.steps)
                counted.append(sum(cores.count(core, folder, folder / "program", steps)))
        if core.tick:
            return counted
        timed = time_programs(folders, rounds=_ROUNDS, budget_s=_BUDGET_S)
        return costs_ns(timed, tuple(folders))


TASKS = KernelTasks()
