"""The inner level: a schedule for every task that an outer trial needs.

A task is tuned once in a study, when the first trial needs it; all later trials take the same
schedule, so that equal candidates have equal latencies. What a study has tuned is kept with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from compiler_core.files.plain import to_plain
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import find_unit, named_task
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine, unit_kind


@dataclass(frozen=True)
class CountedTask:
    """A task and how often a model runs it.

    Attributes:
        task: Which.
        count: How often.
        unit: Name of the unit that runs it, where the task's id does not say that; else empty.
    """

    task: Task
    count: int
    unit: str = ""

    @property
    def name(self) -> str:
        """Name of the task in configurations."""
        return named_task(self.task.id, self.unit)


@dataclass(frozen=True)
class TunedTask:
    """What tuning gave.

    Attributes:
        schedule: Plain.
        cycles: With that schedule.
        default_cycles: Untuned.
        bound_cycles: Lower bound.
        measurements: Spent on it.
        records: Digests of the schedules that were measured.
        order: Tasks that the study had tuned before this one.
    """

    schedule: Any
    cycles: int
    default_cycles: int
    bound_cycles: int
    measurements: int
    records: tuple[str, ...] = ()
    order: int = 0


class Tuner(Protocol):
    """Finds schedules."""

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        """The best schedule found by name of the task; the same for the same tasks, seed and
        snapshot."""
        ...

    def close(self) -> None:
        """Ends its workers."""
        ...


class Untuned:
    """The default schedule of every task."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        found = {}
        for counted in tasks:
            workload = counted.task.workload
            machine = find_unit(counted.name, counted.task, self._target).machine
            asked = kind_of_machine(machine).tasks
            schedule = asked.default(workload, machine)
            cycles = asked.measure(workload, schedule, machine).cycles
            bound = asked.bound(workload, machine).cycles
            found[counted.name] = TunedTask(to_plain(schedule), cycles, cycles, bound, 0)
        return found

    def close(self) -> None:
        """It has no workers."""


def task_from_plain(value: Any) -> CountedTask:
    """A task from what :func:`nest_tune.study.execution.worker.survey` returns."""
    unit = value["unit"]
    workload = unit_kind(unit).documents.workload(value["workload"], "task")
    return CountedTask(Task(unit, workload), int(value["count"]), value.get("on", ""))


def tuned_from_plain(value: Any) -> TunedTask:
    """Inverse of ``to_plain`` for a tuned task as stored."""
    return TunedTask(**{**value, "records": tuple(value["records"])})
