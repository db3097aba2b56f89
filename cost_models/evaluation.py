"""How well a model predicts: rank correlation, recall of the best, error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cost_models.boosted import BoostedModel
from cost_models.training import TrainingSet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Agreement of predicted with measured cycles within tasks, averaged over tasks.

    Attributes:
        tasks, rows: What it was computed over.
        kendall_tau: Rank correlation, -1 to 1.
        top_recall: Share of the measured best tenth that is among the predicted best tenth.
        error: Median of |predicted / measured - 1|.
    """

    tasks: int
    rows: int
    kendall_tau: float
    top_recall: float
    error: float


def quality(predicted: Floats, data: TrainingSet) -> Quality:
    """Compares predictions with measurements.

    Args:
        predicted: ``float64[n]`` cycles.
        data: The measurements; tasks with fewer than 4 rows do not count.
    """
    taus, recalls, errors = [], [], []
    rows = 0
    for task in np.unique(data.task):
        chosen = data.task == task
        measured, guess = data.cycles[chosen], predicted[chosen]
        if len(measured) < 4:
            continue
        rows += len(measured)
        taus.append(kendall_tau(guess, measured))
        top = max(1, len(measured) // 10)
        best = np.argsort(measured, kind="stable")[:top]
        recalls.append(len(np.intersect1d(best, np.argsort(guess, kind="stable")[:top])) / top)
        errors.append(float(np.median(np.abs(guess / measured - 1))))
    if not taus:
        return Quality(0, 0, 0.0, 0.0, 0.0)
    means = [float(np.mean(column)) for column in (taus, recalls, errors)]
    return Quality(len(taus), rows, *means)


def kendall_tau(left: Floats, right: Floats) -> float:
    """Rank correlation tau-b; 0 where one side has no order."""
    # Importing scipy.stats takes longer than this loop for any number of rows that tasks have.
    agreeing = left_pairs = right_pairs = 0
    for first in range(len(left) - 1):
        one = np.sign(left[first + 1 :] - left[first])
        other = np.sign(right[first + 1 :] - right[first])
        agreeing += int((one * other).sum())
        left_pairs += int(np.count_nonzero(one))
        right_pairs += int(np.count_nonzero(other))
    if not left_pairs or not right_pairs:
        return 0.0
    return float(agreeing / np.sqrt(float(left_pairs) * float(right_pairs)))


def batch_quality(predicted: Floats, measured: Floats) -> tuple[float, float] | None:
    """Kendall's tau and the median of |predicted / measured - 1|; ``None`` for fewer than 4 rows or
    where a measured value is 0."""
    if len(measured) < 4 or not np.all(measured):
        return None
    return kendall_tau(predicted, measured), float(np.median(np.abs(predicted / measured - 1)))


def cross_validate(
    data: TrainingSet, train: Callable[[TrainingSet], BoostedModel], folds: int = 5
) -> tuple[Quality, Quality]:
    """Quality of the walk alone and of models that never saw the task they predict.

    Args:
        data: Measurements of several tasks; with one task alone nothing is learnt from others.
        train: Fits a model.
        folds: Groups of tasks; each is predicted by a model of the others.
    """
    predicted = data.walk_cycles.copy()
    for fold in range(folds):
        held = data.task % folds == fold
        if held.any() and not held.all():
            correction, _ = train(data.only(~held)).correction(data.values[held])
            predicted[held] *= np.exp(correction)
    return quality(data.walk_cycles, data), quality(predicted, data)
