"""What accuracy on few samples says of a trial: whether all samples are worth their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler_core.accuracy.score import Score, all_right, hopeful_difference
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.proposals.evidence import Evidence, evidence_of
from nest_tune.study.proposals.front import dominates, losses, pareto_front
from nest_tune.study.request.goals import (
    Direction,
    Limit,
    Metrics,
    Objective,
    TrialMetric,
    violation,
)
from nest_tune.study.trial import Outcome, OuterTrial

_TOWARDS = {
    TrialMetric.ACCURACY: Direction.MAXIMIZE,
    TrialMetric.ACCURACY_DROP: Direction.MINIMIZE,
}
_DEVIATIONS = 2.0
"""Standard deviations that a subset's accuracy is given the benefit of."""


@dataclass(frozen=True)
class Prospects:
    """How good trials may turn out to be.

    Attributes:
        metric: Of accuracy, by name.
        subset, full: Accuracy of the float model on few samples and on all.
        objectives, limits: Of the study.
        default: Accuracy of the default trial on few samples and on all, once it is known.
        risk: Of limits on accuracy, where it is limited.
    """

    metric: str
    subset: Score
    full: Score
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    default: tuple[Score, Score] | None = None
    risk: float | None = None

    def evidence(self, own: Score) -> Evidence:
        """What the samples of an accuracy tell beside its value."""
        floats = self.full if own.samples == self.full.samples else self.subset
        return evidence_of(own, floats, self.metrics(own), self.metric, self.risk)

    def with_default(self, trial: OuterTrial) -> Prospects:
        """With what the default trial was measured to have."""
        if not trial.outcome.is_measured or trial.subset_accuracy is None:
            return self
        few = Score(trial.subset_accuracy, self.subset.samples, trial.hits)
        whole = Score(trial.metrics[TrialMetric.ACCURACY.value], self.full.samples)
        return replace(self, default=(few, whole))

    def metrics(self, own: Score) -> dict[str, float]:
        """What an accuracy adds to the metrics of a trial: one on few samples what it lets expect
        of all, for the float model's own luck is known."""
        few, whole = self.default or (None, None)
        if own.samples == self.full.samples:
            return accuracy_metrics(self.metric, own, self.full, whole)
        found = accuracy_metrics(self.metric, own, self.subset, few)
        luck = self.full.value - self.subset.value
        return {**found, TrialMetric.ACCURACY.value: own.value + luck}

    def is_ideal(self, history: Sequence[OuterTrial]) -> bool:
        """Whether a trial has the best value of every objective that there can be: known of the
        accuracy of metrics that count samples, when all are right."""
        if not self.full.hits:
            return False
        if any(_TOWARDS.get(o.metric) is not o.direction for o in self.objectives):
            return False
        best = self.metrics(all_right(self.full))
        ideal = tuple(o.loss(best[o.metric.value]) for o in self.objectives)
        front = pareto_front(history, self.objectives)
        return any(losses(trial, self.objectives) == ideal for trial in front)

    def may_join_front(
        self,
        measured: Metrics,
        subset: Score,
        history: Sequence[OuterTrial],
        default: Metrics,
    ) -> bool:
        """Whether a trial may belong to the front, with the benefit of the doubt.

        Args:
            measured: Its metrics but for accuracy.
            subset: Its accuracy on the subset.
            history: Trials that it is compared with.
            default: Metrics of the default trial, which scale limits.
        """
        gain = hopeful_difference(subset, self.subset, _DEVIATIONS)
        hopeful = {**measured, **self._expected(self.full.value + gain)}
        if violation(self.limits, hopeful, default) > 0:
            return False
        for other in pareto_front(history, self.objectives):
            assert other.subset_accuracy is not None
            theirs = Score(other.subset_accuracy, subset.samples, other.hits)
            gain = hopeful_difference(subset, theirs, _DEVIATIONS)
            accuracy = other.metrics[TrialMetric.ACCURACY.value] + gain
            metrics = {**measured, **self._expected(accuracy)}
            trying = OuterTrial(0, (), tuned=True, outcome=Outcome.COMPLETE, metrics=metrics)
            if dominates(losses(other, self.objectives), losses(trying, self.objectives)):
                return False
        return True

    def _expected(self, accuracy: float) -> dict[str, float]:
        """Metrics of an accuracy that was not measured."""
        own = Score(accuracy, self.full.samples)
        whole = None if self.default is None else self.default[1]
        return accuracy_metrics(self.metric, own, self.full, whole)
