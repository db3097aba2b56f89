"""How well a model predicts: rank correlation, recall of the best, error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cost_models.boosted import BoostedModel
from cost_models.training import TrainingSet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PredictionQuality:
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


def quality(predicted: Floats, data: TrainingSet) -> PredictionQuality:
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
        return PredictionQuality(0, 0, 0.0, 0.0, 0.0)
    means = [float(np.mean(column)) for column in (taus, recalls, errors)]
    return PredictionQuality(len(taus), rows, *means)


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


def held_out(
    data: TrainingSet,
    groups: Iterable[Collection[int]],
    train: Callable[[TrainingSet], BoostedModel],
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Cycles that models predict of tasks they never saw, and which rows were predicted so.

    Args:
        data: Measurements of several tasks; where one group holds all nothing can be learnt.
        groups: Numbers of tasks that are held out together; of a task in several the first counts.
        train: Fits a model.
    """
    predicted, done = data.walk_cycles.copy(), np.zeros(len(data), np.bool_)
    for tasks in groups:
        held = np.isin(data.task, list(tasks))
        if held.all() or not (held & ~done).any():
            continue
        correction, _ = train(data.only(~held)).correction(data.values[held & ~done])
        predicted[held & ~done] *= np.exp(correction)
        done |= held
    return predicted, done


def cross_validate(
    data: TrainingSet, train: Callable[[TrainingSet], BoostedModel], folds: int = 5
) -> Floats:
    """Cycles that models predict which never saw the task; those of the walk where there is one
    task alone.

    Args:
        data: Measurements of several tasks.
        train: Fits a model.
        folds: Groups of tasks; each is predicted by a model of the others.
    """
    groups = [np.unique(data.task[data.task % folds == fold]).tolist() for fold in range(folds)]
    return held_out(data, groups, train)[0]


def adds_something(walk: PredictionQuality, model: PredictionQuality) -> bool:
    """Whether a model orders schedules better than the walk does, the best ones and all."""
    return (
        model.tasks > 0
        and model.kendall_tau > walk.kendall_tau
        and model.top_recall > walk.top_recall
    )
