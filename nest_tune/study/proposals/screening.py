"""What accuracy on few samples says of a trial: whether all samples are worth their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nest_tune.study.execution.scoring import Score, hopeful_difference
from nest_tune.study.proposals.front import dominates, losses, pareto_front
from nest_tune.study.request.goals import Direction, Limit, Metric, Metrics, Objective, violation
from nest_tune.study.trial import Outcome, OuterTrial

_TOWARDS = {
    Metric.ACCURACY: Direction.MAXIMIZE,
    Metric.ACCURACY_DROP: Direction.MINIMIZE,
}
_DEVIATIONS = 2.0
"""Standard deviations that a subset's accuracy is given the benefit of."""


@dataclass(frozen=True)
class Prospects:
    """How good trials may turn out to be.

    Attributes:
        subset, full: Accuracy of the float model on few samples and on all.
        objectives, limits: Of the study.
    """

    subset: Score
    full: Score
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]

    def on_all(self, accuracy: float) -> float:
        """The accuracy that one on the subset lets expect: the float model's own luck is known."""
        return accuracy + self.full.value - self.subset.value

    def metrics(self, accuracy: float) -> dict[str, float]:
        """What an accuracy adds to the metrics of a trial."""
        return {
            Metric.ACCURACY.value: accuracy,
            Metric.ACCURACY_DROP.value: self.full.value - accuracy,
        }

    def is_ideal(self, history: Sequence[OuterTrial]) -> bool:
        """Whether a trial has the best value of every objective that there can be: known of the
        accuracy of metrics that count samples, when all are right."""
        if not self.full.hits:
            return False
        if any(_TOWARDS.get(o.metric) is not o.direction for o in self.objectives):
            return False
        best = self.metrics(1.0)
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
        hopeful = {**measured, **self.metrics(self.full.value + gain)}
        if violation(self.limits, hopeful, default) > 0:
            return False
        for other in pareto_front(history, self.objectives):
            assert other.subset_accuracy is not None
            theirs = Score(other.subset_accuracy, subset.samples, other.hits)
            gain = hopeful_difference(subset, theirs, _DEVIATIONS)
            accuracy = other.metrics[Metric.ACCURACY.value] + gain
            metrics = {**measured, **self.metrics(accuracy)}
            trying = OuterTrial(0, (), tuned=True, outcome=Outcome.COMPLETE, metrics=metrics)
            if dominates(losses(other, self.objectives), losses(trying, self.objectives)):
                return False
        return True
