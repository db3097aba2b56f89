"""What the samples of a trial tell of its accuracy: intervals, and what a limit is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compiler_core.accuracy.metric import is_in_decibels
from compiler_core.accuracy.score import Score, drop_interval, hopeful_difference, tallies_of
from nest_tune.study.request.goals import Metrics, TrialMetric
from nest_tune.study.trial import OuterTrial

Interval = tuple[float, float]
"""Lower and upper end, at 95 %."""

_Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Evidence:
    """Beside the value of an accuracy.

    Attributes:
        intervals: 95 % intervals of ``accuracy`` and, where the metric counts, of
            ``accuracy_drop``, paired with the float model.
        pessimistic: What limits are judged by in the place of what was measured; empty where a risk
            is not limited.
        fidelity: ``agreement`` and ``sqnr_db`` against the float model, where they were measured.
    """

    intervals: Mapping[str, Interval] = field(default_factory=dict)
    pessimistic: Mapping[str, float] = field(default_factory=dict)
    fidelity: Mapping[str, float] = field(default_factory=dict)


def evidence_of(
    own: Score, floats: Score, metrics: Metrics, metric: str, risk: float | None = None
) -> Evidence:
    """What the samples tell.

    Args:
        own: Accuracy of a trial.
        floats: Of the float model on the same samples.
        metrics: What the trial's accuracy adds to its metrics.
        metric: Of accuracy, by name.
        risk: Chance that a limit on accuracy is broken on all samples there could be; ``None``
            where limits are judged by what was measured.
    """
    intervals: dict[str, Interval] = {}
    if own.low is not None and own.high is not None:
        intervals[TrialMetric.ACCURACY.value] = own.low, own.high
    lost = drop_interval(floats, own)
    if lost is not None and not is_in_decibels(metric):
        intervals[TrialMetric.ACCURACY_DROP.value] = lost.low, lost.high
    from compiler_core.accuracy.fidelity import fidelity_of  # loaded where used: it takes long

    fidelity = fidelity_of(own.fidelity)
    if risk is None:
        return Evidence(intervals, fidelity=fidelity)
    ends = _pessimistic(own, floats, metrics, _deviations(risk))
    return Evidence(intervals, ends, fidelity)


def _deviations(risk: float) -> float:
    from scipy.special import ndtri

    return float(-ndtri(risk))


def _pessimistic(
    own: Score, floats: Score, metrics: Metrics, deviations: float
) -> dict[str, float]:
    """Ends of one-sided intervals: of the drop paired with the float model, where single samples
    are known; else by the width of the interval of the accuracy."""
    accuracy, drop = metrics[TrialMetric.ACCURACY.value], metrics[TrialMetric.ACCURACY_DROP.value]
    width = 0.0
    if own.low is not None:
        width = (own.value - own.low) * deviations / _Z_95
    found = {
        TrialMetric.ACCURACY.value: accuracy - width,
        TrialMetric.ACCURACY_DROP.value: drop + width,
    }
    if tallies_of(own) and tallies_of(floats) and own.samples == floats.samples:
        worst = -hopeful_difference(own, floats, -deviations)
        found[TrialMetric.ACCURACY_DROP.value] = max(drop, worst)
    return found


def trial_score(trial: OuterTrial) -> Score | None:
    """The accuracy of a trial on all samples, with what is known of single ones; ``None`` where it
    was not measured on all."""
    value = trial.metrics.get(TrialMetric.ACCURACY.value)
    if value is None or not trial.settled:
        return None
    ends = trial.intervals.get(TrialMetric.ACCURACY.value, (None, None))
    return Score(value, trial.accuracy_samples, trial.all_hits, ends[0], ends[1])


def differs_by_chance(one: Score | None, other: Score | None) -> bool:
    """Whether the difference of two accuracies says nothing; not so where one is not known."""
    if one is None or other is None or one.samples != other.samples:
        return False
    return one.value != other.value and within_chance(one, other)


def interval_text(ends: Sequence[float] | None) -> str:
    """An interval for people, in three digits; nothing for none."""
    if ends is None:
        return ""
    low, high = (f"{end:,.0f}" if abs(end) >= 1000 else f"{end:.3g}" for end in ends)
    return f"[{low}, {high}]"


def within_chance(one: Score, other: Score) -> bool:
    """Whether two accuracies on the same samples may be equal on all samples there could be: by
    pairs where single samples are known, else where their intervals meet."""
    found = drop_interval(one, other)
    if found is not None:
        return found.low <= 0.0 <= found.high
    ends = (one.low, one.high, other.low, other.high)
    if any(end is None for end in ends):
        return one.value == other.value
    return max(one.low or 0.0, other.low or 0.0) <= min(one.high or 0.0, other.high or 0.0)
