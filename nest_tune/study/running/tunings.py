"""The tasks of trials in flight, tuned side by side.

A task is tuned for the first trial that needs it. Which that is depends on numbers alone: the tasks
of a trial are allotted when all trials before it have been surveyed. What the tuning of a trial's
tasks learns from are the tasks of trials that its proposal knew. An asynchronous study allots in
the order in which surveys come, and keeps with each task whose it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nest_tune.study.running.measurements import Measurements
from nest_tune.study.tuning.seam import CountedTask, TunedTask, Tuner, Tuning, task_from_plain
from nest_tune.tuning.measure import Measurement

Ready = Callable[[Mapping[str, Any]], None]
"""Takes the schedules of a trial's tasks, by name."""


@dataclass
class _Surveyed:
    """A trial whose tasks are known.

    Attributes:
        tasks: All of them; empty where it needs none.
        saw: Numbers of the trials that its proposal knew, in their order.
        ready: Called once when all have schedules.
    """

    tasks: Sequence[CountedTask]
    saw: Sequence[int]
    ready: Ready | None


class Tunings:
    """Tunes what trials need.

    Args:
        tuner: Finds schedules.
        measurements: What the tuner's searches want is measured there.
        known: Tasks tuned before, by name.
        keep: Stores what has been tuned for a trial.
        began: Told how many new tasks are being tuned, and how many schedules are looked at for
            them at most.
        in_order: Whether tasks are allotted by number of trials; else as surveys come.
        owners: Trial of each task in a study that is repeated.
    """

    def __init__(
        self,
        tuner: Tuner,
        measurements: Measurements | None,
        known: Mapping[str, TunedTask],
        keep: Callable[[Mapping[str, TunedTask]], None],
        began: Callable[[int, int], None] = lambda _count, _limit: None,
        *,
        in_order: bool = True,
        owners: Mapping[str, int] | None = None,
    ) -> None:
        self._tuner, self._measurements = tuner, measurements
        self._tasks = dict(known)
        self._owners = owners
        self._keep, self._began, self._in_order = keep, began, in_order
        self._under_way: dict[str, int] = {}
        self._surveyed: dict[int, _Surveyed] = {}
        self._waiting: dict[int, _Surveyed] = {}
        self._turn = 0

    @property
    def tasks(self) -> Mapping[str, TunedTask]:
        """Tuned tasks by name."""
        return self._tasks

    def read(
        self, plain: Sequence[Any], decisions: Mapping[str, Any], *, tuned: bool
    ) -> list[CountedTask]:
        """Tasks of a trial, from what its survey says; none where it is not tuned."""
        del decisions
        return [task_from_plain(task) for task in plain] if tuned else []

    def survey(
        self,
        number: int,
        tasks: Sequence[CountedTask] = (),
        saw: Sequence[int] = (),
        ready: Ready | None = None,
    ) -> None:
        """Takes note of what a trial needs: nothing, where it failed or was finished before."""
        self._surveyed[number] = _Surveyed(tasks, saw, ready)
        if not self._in_order:
            self._allot(number)
            return
        while self._turn in self._surveyed:
            self._turn += 1
            self._allot(self._turn - 1)

    def _allot(self, number: int) -> None:
        trial = self._surveyed.pop(number)
        if trial.ready is not None:
            self._waiting[number] = trial
        fresh = [c for c in trial.tasks if self._is_for(c.name, number)]
        if fresh:
            self._under_way |= {counted.name: number for counted in fresh}
            self._began(len(fresh), self._tuner.limit(len(fresh)))
            taught = self._taught(trial.saw)
            self._go_on(number, self._tuner.tuning(fresh, taught), None)
        self._release()

    def _is_for(self, name: str, number: int) -> bool:
        if name in self._tasks or name in self._under_way:
            return False
        return self._owners is None or self._owners.get(name, number) == number

    def _taught(self, saw: Sequence[int]) -> list[str]:
        """Tasks of these trials, in their order."""
        tuned: dict[int, list[str]] = {}
        for name in sorted(self._tasks, key=lambda name: self._tasks[name].order):
            tuned.setdefault(self._tasks[name].trial, []).append(name)
        return [name for number in saw for name in tuned.get(number, ())]

    def _go_on(self, number: int, tuning: Tuning, answers: list[Measurement] | None) -> None:
        while True:
            try:
                wanted = next(tuning) if answers is None else tuning.send(answers)
            except StopIteration as end:
                self._done(number, end.value)
                return
            assert self._measurements is not None
            answers = self._measurements.start(
                wanted, lambda found: self._go_on(number, tuning, found)
            )
            if answers is None:
                return

    def _done(self, number: int, found: Mapping[str, TunedTask]) -> None:
        own = {name: replace(task, trial=number) for name, task in found.items()}
        self._tasks |= own
        for name in own:
            del self._under_way[name]
        self._keep(own)
        self._release()

    def _release(self) -> None:
        """Lets trials go on that have all they need."""
        for number, trial in list(self._waiting.items()):
            names = [counted.name for counted in trial.tasks]
            if all(name in self._tasks for name in names) and trial.ready is not None:
                self._waiting.pop(number, None)
                trial.ready({name: self._tasks[name].schedule for name in names})
