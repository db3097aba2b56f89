"""What a running study has to tell: counts, time left, bests, tuning, quality of its models."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite

import numpy as np

from compiler_core.accuracy.metric import shown_name
from cost_models.evaluation import batch_quality
from nest_tune.figures import change, duration, figure, figures, percent
from nest_tune.study.choice.gains import changes_percent, within_noise
from nest_tune.study.proposals.evidence import interval_text
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.problem import PREDICTED
from nest_tune.study.request.goals import Objective, TrialMetric
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.store.ended import Ended
from nest_tune.study.trial import OuterTrial, outcomes_text
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.study.views.tuning_state import TuningState
from nest_tune.tuning.task_search import TaskSearch

_RECENT = 32
"""Trials by which the speed and the quality of the model are judged."""
_FEWEST_GAPS = 2
"""Times between trials from which the speed is judged."""


class Progress(Observer):
    """Keeps count and says how far a study is; subclasses show it.

    Args:
        objectives: Of the study.
        metric: Of accuracy, by name.
        verbose: Whether to show also how well the cost models have predicted.
    """

    def __init__(
        self, objectives: Sequence[Objective], metric: str = "top1", *, verbose: bool = False
    ) -> None:
        self.is_verbose = verbose
        self._objectives, self._metric = objectives, metric
        self._trials: dict[int, OuterTrial] = {}
        self._budget = Budget(0)
        self._began_s = time.monotonic()
        self._moments: deque[float] = deque(maxlen=_RECENT + 1)
        self._tasks: Mapping[str, TunedTask] = {}
        self._tuning: TuningState | None = None
        self._doing = "starting"

    def began(self, trials: Sequence[OuterTrial], budget: Budget) -> None:
        self._trials = {trial.number: trial for trial in trials}
        self._budget, self._began_s = budget, time.monotonic()
        self._moments.clear()
        self.show(urgent=bool(trials))

    def noted(self, note: str) -> None:
        print(f"note: {note}", file=sys.stderr, flush=True)

    def reckoning(self, noises: int) -> None:
        self._doing = f"evaluating, and measuring the noise of {noises} configurations"
        self.show(urgent=True)

    def tuning(self, tasks: int, limit: int = 0) -> None:
        self._tuning = self._tuning or TuningState(time.monotonic())
        self._tuning.add(tasks, limit)
        self.show(urgent=False)

    def searching(self, search: TaskSearch) -> None:
        if self._tuning is None:
            self.tuning(1)
        assert self._tuning is not None
        self._tuning.take(search, time.monotonic())
        self.show(urgent=False)

    def tuned(self, tasks: Mapping[str, TunedTask]) -> None:
        fresh = tasks.keys() - self._tasks.keys()
        self._tasks = dict(tasks)
        if self._tuning is not None:
            self._tuning.end(fresh)
        if self._tuning is None or not self._tuning.tasks:
            self._doing, self._tuning = "evaluating", None

    def finished(self, trial: OuterTrial) -> None:
        self._trials[trial.number] = trial
        self._moments.append(time.monotonic())
        self._doing = "evaluating"
        self.show(urgent=trial.number == 0)

    def ended(self, reason: Ended) -> None:
        self._tuning, self._doing = None, f"ended: {reason.sentence}"
        self.show(urgent=True)

    def show(self, *, urgent: bool) -> None:
        """Shows what is known by now; ``urgent`` where it must not be left out."""

    def doing_text(self) -> str:
        """What happens at this moment."""
        return self._doing if self._tuning is None else self._tuning.text(time.monotonic())

    def counts_text(self) -> str:
        """Trials, outcomes, the time that passed and the time left."""
        done, total = len(self._trials), self._budget.trials
        ended = outcomes_text(list(self._trials.values()))
        text = f"{done}/{total} trials" + (f" ({ended})" if ended else "")
        text += f", {duration(time.monotonic() - self._began_s)}"
        left = self.seconds_left()
        return text if left is None else f"{text}, about {duration(left)} left"

    @property
    def share_done(self) -> float:
        """Of the trials that the budget allows, from 0 to 1."""
        return min(1.0, len(self._trials) / max(1, self._budget.trials))

    def seconds_left(self) -> float | None:
        """By the speed of the latest trials, and at most the budget of time; ``None`` after the
        last trial, and while fewer than three have finished: the first one pays for the start.

        The longest time between two counts as much as all others at most: the trials that find
        their tasks untuned wait long, once.
        """
        fresh = len(self._moments) - 1
        if fresh < _FEWEST_GAPS or len(self._trials) >= self._budget.trials:
            return None
        longest = max(after - before for before, after in pairwise(self._moments))
        others = time.monotonic() - self._moments[0] - longest
        spent = others + min(longest, others)
        left = spent / fresh * (self._budget.trials - len(self._trials))
        if self._budget.timeout_s is not None:
            passed = time.monotonic() - self._began_s
            left = min(left, max(0.0, self._budget.timeout_s - passed))
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
            nothing = "nothing feasible yet" if self._trials else "not measured yet"
            before = default if default is not None and default.outcome.is_measured else None
            shown = _value_texts((best, before), name, self._metric)
            text = nothing if best is None else f"best {shown[0]}"
            if before is not None:
                gain = "" if best is None else _gain_text(best, before, name)
                text += f"{gain}, default {shown[1]}"
            if best is not None and best.bound_ms and objective.metric is TrialMetric.LATENCY_MS:
                text += f", bound {figure(best.bound_ms, name)}"
            lines.append((shown_name(name, self._metric), text))
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
            f"{len(tasks)} tasks, {measured:,} measurements: {tuned:,} cycles, "
            f"default {default:,}, bound {bound:,}"
        )

    def quality_text(self) -> str:
        """How well the cost models have predicted what was measured last; empty before that."""
        parts = []
        if self._tuning is not None and self._tuning.quality is not None:
            parts.append(_quality_text("schedules", self._tuning.quality))
        for objective in self._objectives:
            name = objective.metric.value
            pairs = [
                (trial.attributes[PREDICTED][name], trial.metrics[name])
                for _, trial in sorted(self._trials.items())
                if PREDICTED in trial.attributes and trial.outcome.is_measured
            ][-_RECENT:]
            columns = np.array(pairs, np.float64).reshape(-1, 2)
            found = batch_quality(columns[:, 0], columns[:, 1])
            if found is not None:
                parts.append(_quality_text(shown_name(name, self._metric), found))
        return "; ".join(parts)


def _value_texts(trials: Sequence[OuterTrial | None], entry: str, metric: str) -> list[str]:
    """An entry of trials' metrics with the interval, where it has one."""
    values = [None if trial is None else trial.metrics[entry] for trial in trials]
    shown = figures(values, shown_name(entry, metric))
    ends = ["" if t is None else interval_text(t.intervals.get(entry)) for t in trials]
    return [" ".join(pair).strip() for pair in zip(shown, ends, strict=True)]


def _gain_text(best: OuterTrial, default: OuterTrial, metric: str) -> str:
    """How the cost of the best compares with the default's; empty for itself."""
    if best.number == default.number:
        return ""
    changes = changes_percent(best.metrics, default.metrics)
    if metric not in changes:
        return ""
    if metric in within_noise(best, default):
        return " (within noise)"
    return f" ({change(changes[metric] / 100)})"


def _quality_text(name: str, quality: tuple[float, float]) -> str:
    tau, error = quality
    shown = percent(error) if isfinite(error) else "unknown"
    return f"{name} Kendall tau {tau:.2f}, error {shown}"
