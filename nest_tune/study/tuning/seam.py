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
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine, unit_kind


@dataclass(frozen=True)
class CountedTask:
    """A task and how often a model runs it."""

    task: Task
    count: int


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
        """The best schedule found per task id; the same for the same tasks, seed and snapshot."""
        ...

    def close(self) -> None:
        """Ends its workers."""
        ...


class Untuned:
    """The default schedule of every task."""

    def __init__(self, target: Target) -> None:
        self._machine = target.npu

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        asked = kind_of_machine(self._machine).tasks
        found = {}
        for counted in tasks:
            workload = counted.task.workload
            schedule = asked.default(workload, self._machine)
            cycles = asked.measure(workload, schedule, self._machine).cycles
            bound = asked.bound(workload, self._machine).cycles
            found[counted.task.id] = TunedTask(to_plain(schedule), cycles, cycles, bound, 0)
        return found

    def close(self) -> None:
        """It has no workers."""


def task_from_plain(value: Any) -> CountedTask:
    """A task from what :func:`nest_tune.study.execution.worker.survey` returns."""
    unit = value["unit"]
    workload = unit_kind(unit).documents.workload(value["workload"], "task")
    return CountedTask(Task(unit, workload), int(value["count"]))


def tuned_from_plain(value: Any) -> TunedTask:
    """Inverse of ``to_plain`` for a tuned task as stored."""
    return TunedTask(**{**value, "records": tuple(value["records"])})
