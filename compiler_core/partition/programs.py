"""What launches on one unit cost, each measured once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from compiler_core.partition.task_launches import launches_of
from compiler_core.targets.target import Unit
from compiler_core.tensor.task import Task
from compiler_core.units.launches import Launch

Schedules = Mapping[str, Any]
"""By task id."""


class ProgramCosts:
    """Measures workloads on a unit, each once.

    Args:
        unit: Where.
        schedules: By task id.
        progress: Told of each program that is measured.
    """

    def __init__(
        self,
        unit: Unit,
        schedules: Schedules,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.unit, self.launches = unit, launches_of(unit.machine)
        self._schedules, self._progress = schedules, progress
        self._across: dict[Any, Mapping[str, Launch]] = {}
        self._known: dict[Any, Launch] = {}

    def program(self, name: str, workload: Any) -> Launch:
        """The cost of one launch.

        Raises:
            InfeasibleError: No schedule fits, or a given one does not.
        """
        found = self._known.get(workload)
        if found is None:
            machine = self.unit.machine
            self._progress(f"pricing {Task(machine.kind, workload).id}")
            found = self.launches.alone(workload, self._schedules, machine, name)
            self._known[workload] = found
        return replace(found, name=name)

    def is_given(self, workload: Any) -> bool:
        """Whether a workload's schedule is given, so that it has to fit."""
        return Task(self.unit.machine.kind, workload).id in self._schedules

    def across(self, name: str, workload: Any) -> dict[str, Launch]:
        """The cost of an operator across all cores by untuned schedules of its parts, by suffix of
        the way; empty where there is one core."""
        cores = self.unit.cores
        if cores == 1:
            return {}
        if workload not in self._across:
            whole = self.program("", workload)
            self._progress(f"pricing {whole.task} on {cores} cores")
            found = self.launches.across(workload, whole, self.unit.machine, cores)
            self._across[workload] = found
        found = self._across[workload]
        return {suffix: replace(launch, name=name) for suffix, launch in found.items()}
