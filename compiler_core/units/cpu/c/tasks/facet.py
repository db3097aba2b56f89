"""Schedules of kernels and what they cost: the facet :class:`~compiler_core.units.unit.Tasks`.

A cost is in instructions, counted one by one in an emulator of the core. Where it says cycles, they
are meant.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from compiler_core.errors import InfeasibleError
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.schedules.estimate import workload_least
from compiler_core.units.cpu.c.schedules.legality import units_of, violations
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule, KernelUnit, choices
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload, network_of
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from compiler_core.units.unit import TaskBound, TaskCost
from compiler_core.units.violation import Violation


class KernelTasks:
    """See :class:`~compiler_core.units.unit.Tasks`."""

    def default(self, workload: KernelWorkload, machine: KernelMachine) -> KernelSchedule:
        return choices(network_of(workload).operators[0], machine.core)[0]

    def violations(
        self, workload: KernelWorkload, schedule: KernelSchedule, machine: KernelMachine
    ) -> tuple[Violation, ...]:
        return violations(workload, schedule, machine.core)

    def bound(self, workload: KernelWorkload, machine: KernelMachine) -> TaskBound:
        vectors = KernelUnit.MVE in units_of(machine.core)
        return TaskBound(workload_least(workload, vectors), "products")

    def measure(
        self, workload: KernelWorkload, schedule: KernelSchedule, machine: KernelMachine
    ) -> TaskCost:
        if found := violations(workload, schedule, machine.core):
            raise InfeasibleError(f"schedule for {workload.operator}: {found[0]}")
        counted = counted_alone(network_of(workload), schedule, cores.core_of(machine.core))
        return TaskCost(max(1, round(counted)), None, {})


def counted_alone(network: Network, schedule: KernelSchedule, core: cores.Core) -> float:
    """What one run of a network of one operator takes: instructions, or nanoseconds on this machine
    where nothing counts.

    Raises:
        MissingDependencyError: Compiler or emulator are not installed.
        CheckError: The program cannot be built or run.
    """
    bundle = scheduled_bundle(network, "alone", {network.outputs[0]: schedule})
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        folder = Path(scratch)
        write_sources_of(bundle, folder)
        steps = len(bundle.sources.steps)
        if core.tick:
            return sum(cores.count(core, folder, folder / "program", steps))
        return sum(cores.times_ns(folder, folder / "program", steps))


TASKS = KernelTasks()
