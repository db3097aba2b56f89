"""Live progress of a study on standard error: a panel on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nest_tune.study.engine import Budget, Ended, Observer, outcome_counts
from nest_tune.study.front import pareto_front
from nest_tune.study.goals import Metric, Objective
from nest_tune.study.inner import TunedTask
from nest_tune.study.trial import OuterTrial

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_LINE_EVERY_S = 5.0


class Progress(Observer):
    """Keeps count and says how far a study is; subclasses show it."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = objectives
        self._trials: dict[int, OuterTrial] = {}
        self._budget = Budget(0)
        self._earlier = 0
        self._since = time.monotonic()
        self._tasks: Mapping[str, TunedTask] = {}
        self._doing = "starting"

    def began(self, trials: Sequence[OuterTrial], budget: Budget) -> None:
        self._trials = {trial.number: trial for trial in trials}
        self._earlier, self._budget, self._since = len(trials), budget, time.monotonic()
        self.show(urgent=bool(trials))

    def tuning(self, tasks: int) -> None:
        self._doing = f"tuning {tasks} new tasks"
        self.show(urgent=False)

    def tuned(self, tasks: Mapping[str, TunedTask]) -> None:
        self._tasks = dict(tasks)
        self._doing = "evaluating"

    def finished(self, trial: OuterTrial) -> None:
        self._trials[trial.number] = trial
        self._doing = "evaluating"
        self.show(urgent=trial.number == 0)

    def ended(self, reason: Ended) -> None:
        self._doing = f"ended: {reason.value}"
        self.show(urgent=True)

    def show(self, *, urgent: bool) -> None:
        """Shows what is known by now; ``urgent`` where it must not be left out."""

    def counts_text(self) -> str:
        """Trials, outcomes and the time left."""
        done, total = len(self._trials), self._budget.trials
        counts = outcome_counts(list(self._trials.values()))
        parts = [f"{number} {name}" for name, number in counts.items()]
        text = f"{done}/{total} trials" + (f" ({', '.join(parts)})" if parts else "")
        left = self.seconds_left()
        return text if left is None else f"{text}, about {_duration(left)} left"

    def seconds_left(self) -> float | None:
        """By the speed so far, and at most the budget of time; ``None`` before the first trial."""
        fresh, spent = len(self._trials) - self._earlier, time.monotonic() - self._since
        if fresh < 1 or len(self._trials) >= self._budget.trials:
            return None
        left = spent / fresh * (self._budget.trials - len(self._trials))
        if self._budget.timeout_s is not None:
            left = min(left, max(0.0, self._budget.timeout_s - spent))
        return left

    def best_lines(self) -> list[tuple[str, str]]:
        """For each objective the best feasible value beside the default's, and for latency what
        it would be if every program reached its bound."""
        default = self._trials.get(0)
        front = pareto_front(list(self._trials.values()), self._objectives)
        lines = []
        for objective in self._objectives:
            name = objective.metric.value
            best = min(front, key=lambda t: objective.loss(t.metrics[name]), default=None)
            text = "nothing feasible yet" if best is None else f"best {best.metrics[name]:.6g}"
            if default is not None and default.outcome.is_measured:
                text += f", default {default.metrics[name]:.6g}"
            if best is not None and objective.metric is Metric.LATENCY_MS:
                text += f", bound {best.bound_ms:.6g}"
            lines.append((name, text))
        return lines

    def tasks_text(self) -> str:
        """How far the schedules are from their bounds."""
        tasks = list(self._tasks.values())
        if not tasks:
            return "no tasks tuned yet"
        tuned = sum(task.cycles for task in tasks)
        default = sum(task.default_cycles for task in tasks)
        bound = sum(task.bound_cycles for task in tasks)
        measured = sum(task.measurements for task in tasks)
        return (
            f"{len(tasks)} tasks, {measured} measurements: {tuned:,} cycles, default {default:,}, "
            f"bound {bound:,}"
        )


class Lines(Progress):
    """A line now and then, where there is no terminal."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        super().__init__(objectives)
        self._next = 0.0

    def show(self, *, urgent: bool) -> None:
        now = time.monotonic()
        if not urgent and now < self._next:
            return
        self._next = now + _LINE_EVERY_S
        best = "; ".join(f"{name}: {text}" for name, text in self.best_lines())
        print(f"{self.counts_text()}; {best}; {self._doing}", file=sys.stderr, flush=True)


class Panel(Progress):
    """A table that is drawn anew, on a terminal."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        super().__init__(objectives)
        self._live: Live | None = None

    def show(self, *, urgent: bool) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=False)
            self._live.start()
        self._live.update(self._table(), refresh=urgent)

    def close(self) -> None:
        """Leaves the last table standing."""
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(show_header=False, box=None)
        table.add_row("study", self.counts_text())
        for name, text in self.best_lines():
            table.add_row(name, text)
        table.add_row("tasks", self.tasks_text())
        table.add_row("now", self._doing)
        return table


def make_progress(objectives: Sequence[Objective]) -> Progress:
    """The kind that standard error can show."""
    return Panel(objectives) if sys.stderr.isatty() else Lines(objectives)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 5400 else f"{whole / 3600:.1f} h"
