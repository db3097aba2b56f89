"""Feasible fronts, and the trials that come closest to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nest_tune.study.request.goals import Limit, Metrics, Objective, violation
from nest_tune.study.trial import OuterTrial


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether losses ``one`` are nowhere worse than ``other`` and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def losses(trial: OuterTrial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Values to minimize."""
    return tuple(o.loss(trial.metrics[o.metric.value]) for o in objectives)


def ends(
    objective: Objective, metrics: Metrics, intervals: Mapping[str, Sequence[float]]
) -> tuple[float, float]:
    """The least and the most loss that the repeats of a measurement by the clock allow; what was
    not measured by the clock has one loss."""
    name = objective.metric.value
    known = None if objective.metric.needs_evaluation else intervals.get(name)
    low, high = (metrics[name], metrics[name]) if known is None else known
    one, other = objective.loss(low), objective.loss(high)
    return min(one, other), max(one, other)


def is_worse(one: OuterTrial, other: OuterTrial, objective: Objective) -> bool:
    """Whether a trial is worse than another one, beyond what repeats are apart: trials whose
    intervals meet are equal."""
    ours = ends(objective, one.metrics, one.intervals)
    return ours[0] > ends(objective, other.metrics, other.intervals)[1]


def least(trials: Sequence[OuterTrial], objectives: Sequence[Objective]) -> OuterTrial | None:
    """The trial that is best in the first objective; of equal ones in the next, at last the first
    of them; ``None`` of none."""
    left = list(trials)
    for goal in objectives if left else ():
        name = goal.metric.value
        best = min(left, key=lambda t: (goal.loss(t.metrics[name]), t.number))
        left = [trial for trial in left if not is_worse(trial, best, goal)]
    return min(left, key=lambda trial: trial.number, default=None)


def pareto_front(
    trials: Sequence[OuterTrial], objectives: Sequence[Objective]
) -> tuple[OuterTrial, ...]:
    """Feasible settled trials that none dominates; of equal ones the first. By first objective."""
    candidates = [trial for trial in trials if trial.is_feasible and trial.settled]
    noisy = [goal for goal in objectives if any(_is_noisy(goal, trial) for trial in candidates)]
    if noisy:
        return _front_in_noise(candidates, objectives, noisy)
    rows = [losses(trial, objectives) for trial in candidates]
    table = np.array(rows, np.float64).reshape(len(rows), len(objectives))
    return tuple(candidates[number] for number in nondominated(table))


def _is_noisy(objective: Objective, trial: OuterTrial) -> bool:
    return not objective.metric.needs_evaluation and objective.metric.value in trial.intervals


def _front_in_noise(
    candidates: Sequence[OuterTrial], objectives: Sequence[Objective], noisy: Sequence[Objective]
) -> tuple[OuterTrial, ...]:
    """The same where repeats are apart: what some trial of the front is not worse than in anything
    is left out.

    Equal is not transitive here: of three trials the second may be equal to both others, and these
    not to one another. So it is the trials *of the front* that leave others out, in an order in
    which nothing comes before what dominates it.
    """
    exact = [goal for goal in objectives if goal not in noisy]

    def rank(trial: OuterTrial) -> tuple[tuple[float, ...], tuple[float, ...], int]:
        return losses(trial, exact), losses(trial, noisy), trial.number

    front: list[OuterTrial] = []
    for trial in sorted(candidates, key=rank):
        if not any(_leaves_out(member, trial, objectives) for member in front):
            front.append(trial)
    return tuple(sorted(front, key=lambda trial: (losses(trial, objectives), trial.number)))


def _leaves_out(one: OuterTrial, other: OuterTrial, objectives: Sequence[Objective]) -> bool:
    return not any(is_worse(one, other, goal) for goal in objectives)


def nondominated(table: npt.NDArray[np.float64]) -> list[int]:
    """Numbers of rows that none dominates; of equal ones the first. By first column.

    Args:
        table: ``float64[n, m]``, losses.
    """
    if not table.size:  # without columns all rows are equal
        return [0][: len(table)]
    # By the first column, then the next ones: no later row dominates an earlier one.
    order: list[int] = np.lexsort(table.T[::-1]).tolist()
    if table.shape[1] == 1:
        return order[:1]
    rows = table[order]
    if table.shape[1] == 2:
        least = np.minimum.accumulate(rows[:, 1])
        better = np.r_[True, rows[1:, 1] < least[:-1]][: len(rows)]
        return [number for number, kept in zip(order, better.tolist(), strict=True) if kept]
    front: list[int] = []
    for at, row in enumerate(rows):
        if not (rows[front] <= row).all(axis=1).any():
            front.append(at)
    return [order[at] for at in front]


def closest(
    trials: Sequence[OuterTrial],
    limits: Sequence[Limit],
    default: OuterTrial | None,
    count: int = 5,
) -> tuple[OuterTrial, ...]:
    """Measured trials that break the limits least."""
    reference = default.metrics if default is not None else {}
    measured = [trial for trial in trials if trial.outcome.is_measured]
    ranked = sorted(measured, key=lambda t: (violation(limits, t.judged, reference), t.number))
    return tuple(ranked[:count])
