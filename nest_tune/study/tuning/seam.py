"""The inner level: a schedule for every task that an outer trial needs.

A task is tuned once in a study, for the first trial that needs it; all later trials take the same
schedule, so that equal candidates have equal latencies. What a study has tuned is kept with it.
A tuner asks for measurements and is sent them, so that the tasks of many trials are tuned side by
side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from compiler_core.files.plain import to_plain
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import find_unit, named_task
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine, unit_kind
from compiler_core.units.unit import TaskSchedule, TaskWorkload
from nest_tune.tuning.measure import Measurement
from nest_tune.tuning.steps import Steps


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
        order: Place among the tasks that were tuned for the same trial.
        trial: Number of the trial that it was tuned for.
    """

    schedule: Any
    cycles: int
    default_cycles: int
    bound_cycles: int
    measurements: int
    records: tuple[str, ...] = ()
    order: int = 0
    trial: int = 0


Wish = tuple[str, TaskWorkload, TaskSchedule]
"""A schedule to be measured on a unit of the target, which goes by its name."""

Tuning = Generator[list[Wish], list[Measurement], Mapping[str, TunedTask]]
"""A tuning under way: yields what it wants measured, is sent the measurements in that order."""


T = TypeVar("T")


def on_unit(steps: Steps[T], unit: str) -> Generator[list[Wish], list[Measurement], T]:
    """A search of schedules of one unit, with the unit beside everything that it wants."""
    try:
        wanted = next(steps)
        while True:
            answers = yield [(unit, workload, schedule) for workload, schedule in wanted]
            wanted = steps.send(answers)
    except StopIteration as end:
        found: T = end.value
        return found


class Tuner(Protocol):
    """Finds schedules."""

    def limit(self, tasks: int) -> int:
        """Known and measured schedules that are looked at for so many tasks at most."""
        ...

    def tuning(self, tasks: Sequence[CountedTask], taught: Sequence[str]) -> Tuning:
        """The best schedule found by name of the task; the same for the same tasks, seed, snapshot
        and ``taught``: names of tasks tuned before that may teach something."""
        ...


class TaskSearches(Protocol):
    """Finds what the tasks of trials in flight need, each once."""

    @property
    def tasks(self) -> Mapping[str, TunedTask]:
        """What was found, by name of the task."""
        ...

    def read(
        self, plain: Sequence[Any], decisions: Mapping[str, Any], *, tuned: bool
    ) -> Sequence[Any]:
        """Tasks of a trial, from what its survey says.

        Args:
            plain: Of the survey.
            decisions: Of the trial.
            tuned: Whether it has tuned schedules.
        """
        ...

    def survey(
        self,
        number: int,
        tasks: Sequence[Any] = (),
        saw: Sequence[int] = (),
        ready: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Takes note of what a trial needs: nothing, where it failed or was finished before.

        Args:
            number: Of the trial.
            tasks: From :meth:`read`.
            saw: Numbers of the trials that its proposal knew.
            ready: Called once when all tasks are known, with a plain schedule by name.
        """
        ...


class Untuned:
    """The default schedule of every task."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def limit(self, tasks: int) -> int:
        del tasks
        return 0

    def tuning(self, tasks: Sequence[CountedTask], taught: Sequence[str]) -> Tuning:
        del taught
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
        yield  # it asks for no measurements


def task_from_plain(value: Any) -> CountedTask:
    """A task from what :func:`nest_tune.study.execution.worker.survey` returns."""
    unit = value["unit"]
    workload = unit_kind(unit).documents.workload(value["workload"], "task")
    return CountedTask(Task(unit, workload), int(value["count"]), value.get("on", ""))


def tuned_from_plain(value: Any) -> TunedTask:
    """Inverse of ``to_plain`` for a tuned task as stored."""
    return TunedTask(**{**value, "records": tuple(value["records"])})
