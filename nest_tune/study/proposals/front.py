"""Feasible fronts, and the trials that come closest to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nest_tune.study.request.goals import Limit, Objective, violation
from nest_tune.study.trial import OuterTrial


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether losses ``one`` are nowhere worse than ``other`` and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def losses(trial: OuterTrial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Values to minimize."""
    return tuple(o.loss(trial.metrics[o.metric.value]) for o in objectives)


def pareto_front(
    trials: Sequence[OuterTrial], objectives: Sequence[Objective]
) -> tuple[OuterTrial, ...]:
    """Feasible settled trials that none dominates; of equal ones the first. By first objective."""
    candidates = [trial for trial in trials if trial.is_feasible and trial.settled]
    rows = [losses(trial, objectives) for trial in candidates]
    table = np.array(rows, np.float64).reshape(len(rows), len(objectives))
    return tuple(candidates[number] for number in nondominated(table))


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
