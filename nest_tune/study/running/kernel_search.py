"""Kernels of generated sources, operator by operator.

Layers that are tasks of a core are tuned as tasks of any other unit: searched with a budget, kept
as records. Of all other operators every kernel is measured once, all in one call; most have one,
and of equal ones the first is taken. What an operator costs does not depend on the network around
it, so that its measurements are found again in other trials and other studies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.errors import MissingDependencyError, NestTuneError
from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.execution.source_bench import COST, KERNEL, UNTUNED
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.tunings import Tunings
from nest_tune.study.tuning.seam import (
    CountedTask,
    TunedTask,
    Tuner,
    Tuning,
    task_from_plain,
)

KERNELS_PER_TASK = 12
"""Known and measured kernels per new layer; they go where they gain most."""

_FUNCTION = "nest_tune.study.execution.worker:measure_kernels"
Ready = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class WantedTask:
    """An operator and the kernels that are measured.

    Attributes:
        name: Of the task; of one that is not tuned with :data:`UNTUNED` before it.
        decisions: Of a candidate that has it.
        value: What it writes there.
        kernels: Plain.
        searched: The same as a task of a core, where it is tuned as one.
    """

    name: str
    decisions: Mapping[str, Any]
    value: str
    kernels: tuple[Any, ...]
    searched: CountedTask | None = None

    @property
    def plain_name(self) -> str:
        """As candidates know it."""
        return self.name.removeprefix(UNTUNED)


@dataclass
class _Waiting:
    """A trial, the names of its tasks, and what is called when all are known."""

    names: Sequence[str]
    ready: Ready


@dataclass
class _Search:
    """A task whose kernels are measured, and the trial that wants it first."""

    task: WantedTask
    trial: int


class KernelSearch:
    """Finds the best kernel of every operator.

    Args:
        calls: Of the study.
        identity: What measurements depend on beside operator and kernel.
        known: Tasks searched before, by name.
        keep: Stores what has been found.
        began: Told how many new tasks are searched, and that nothing limits the time of that.
        is_measured: Whether anything measures operators on the target.
        tunings: Of layers that are tasks of a core; without, they are measured as all others.
    """

    def __init__(
        self,
        calls: Calls,
        identity: str,
        known: Mapping[str, TunedTask],
        keep: Callable[[Mapping[str, TunedTask]], None],
        began: Callable[[int, int], None] = lambda _count, _limit: None,
        *,
        is_measured: bool = True,
        tunings: Tunings | None = None,
    ) -> None:
        self._calls, self._identity, self._keep, self._began = calls, identity, keep, began
        self._is_measured, self._tunings = is_measured, tunings
        self._tasks = dict(known)
        self._under_way: dict[str, _Search] = {}
        self._waiting: dict[int, _Waiting] = {}

    @property
    def tasks(self) -> Mapping[str, TunedTask]:
        """Tasks by name."""
        return {**self._tasks, **({} if self._tunings is None else self._tunings.tasks)}

    def read(
        self, plain: Sequence[Any], decisions: Mapping[str, Any], *, tuned: bool
    ) -> list[WantedTask]:
        """Tasks of a trial, from what its survey says."""
        if not self._is_measured:
            return []
        return [
            WantedTask(
                task["name"] if tuned else UNTUNED + task["name"],
                decisions,
                task["value"],
                tuple(task["kernels"] if tuned else task["kernels"][:1]),
                self._searched(task) if tuned else None,
            )
            for task in plain
        ]

    def survey(
        self,
        number: int,
        tasks: Sequence[WantedTask] = (),
        saw: Sequence[int] = (),
        ready: Ready | None = None,
    ) -> None:
        """Takes note of what a trial needs: nothing, where it failed or was finished before."""
        searched = [task.searched for task in tasks if task.searched is not None]
        if ready is not None:
            self._waiting[number] = _Waiting([task.name for task in tasks], ready)
        if self._tunings is not None:
            done = None if ready is None else lambda _found: self._release()
            self._tunings.survey(number, searched, saw, done)
        if ready is None:
            return
        tasks = [task for task in tasks if task.searched is None]
        fresh = [t for t in tasks if t.name not in self._tasks and t.name not in self._under_way]
        for task in fresh:
            self._under_way[task.name] = _Search(task, number)
        if fresh:
            self._began(len(fresh), 0)
        for task in fresh:
            self._measure(self._under_way[task.name])
        self._release()

    def _searched(self, task: Mapping[str, Any]) -> CountedTask | None:
        """A layer as a task of the core, where those are tuned."""
        if self._tunings is None or "searched" not in task:
            return None
        return task_from_plain(task["searched"])

    def _measure(self, search: _Search) -> None:
        task = search.task

        def answered(answer: Answer) -> None:
            if answer.ending is not Ending.DONE:
                raise _failure(task, answer)
            self._done(search, [float(cost) for cost in answer.value])

        kernels = list(task.kernels)
        payload = {"decisions": task.decisions, "value": task.value, "kernels": kernels}
        key = [self._identity, task.plain_name, kernels]
        self._calls.start(_FUNCTION, payload, answered, key=key, context="kernels")

    def _done(self, search: _Search, costs: Sequence[float]) -> None:
        task, best = search.task, costs.index(min(costs))
        found = TunedTask(
            {KERNEL: task.kernels[best], COST: costs[best]},
            round(costs[best]),
            round(costs[0]),
            0,
            len(costs),
            order=len(self._tasks),
            trial=search.trial,
        )
        self._tasks[task.name] = found
        del self._under_way[task.name]
        self._keep({task.name: found})
        self._release()

    def _release(self) -> None:
        """Lets trials go on that have all they need."""
        for number, trial in list(self._waiting.items()):
            known = self.tasks
            if number in self._waiting and all(name in known for name in trial.names):
                del self._waiting[number]
                trial.ready(
                    {name.removeprefix(UNTUNED): known[name].schedule for name in trial.names}
                )


class KernelTuner:
    """Tunes kernels as a tuner of tasks does, and says with each what it costs.

    Args:
        tuner: Of the core's tasks.
    """

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner

    def limit(self, tasks: int) -> int:
        """See :class:`nest_tune.study.tuning.seam.Tuner`."""
        return self._tuner.limit(tasks)

    def tuning(self, tasks: Sequence[CountedTask], taught: Sequence[str]) -> Tuning:
        """See :class:`nest_tune.study.tuning.seam.Tuner`."""
        found = yield from self._tuner.tuning(tasks, taught)
        return {
            name: replace(task, schedule={KERNEL: task.schedule, COST: float(task.cycles)})
            for name, task in found.items()
        }


def _failure(task: WantedTask, answer: Answer) -> NestTuneError:
    kind = MissingDependencyError if answer.error == "MissingDependencyError" else NestTuneError
    return kind(
        f"{task.plain_name} cannot be measured by itself: {answer.message}",
        hint="nest-tune doctor says what is installed",
    )
