"""How good a quantized model is: metrics of its scores, each with a 95 % confidence interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError

Z_95 = 1.959963984540054
_RESAMPLES = 1000
MOST_DB = 200.0
"""SQNR of equal scores, where the noise is zero."""

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Metric(Enum):
    """What is measured; more is better in all of them."""

    TOP1 = "top1"
    TOP5 = "top5"
    AGREEMENT = "agreement"
    """The highest score is that of the float model."""
    SQNR = "sqnr_db"
    """Power of the float scores over that of their difference."""
    COSINE = "cosine"
    """Mean cosine between the scores and those of the float model."""


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What a set of samples says of a quantized model.

    Attributes:
        samples: How many.
        metrics: By metric; those that need labels only where there are some.
        correct: ``bool[samples]``: whether the label has the highest score, or, without labels,
            whether the float model agrees. Pairs with another model's on the same samples.
    """

    samples: int
    metrics: Mapping[Metric, Estimate]
    correct: Flags


def check_labels(labels: npt.NDArray[Any], samples: int, classes: int) -> Labels:
    """Labels as ``int64[samples]``.

    Raises:
        InputError: Their number, type or range is wrong.
    """
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels are {labels.dtype}{list(labels.shape)}; int64[{samples}] is needed",
            hint="one label per sample",
        )
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()}; the model has {classes} classes"
        )
    return labels.astype(np.int64)


def measure(
    scores: npt.NDArray[Any], expected: npt.NDArray[Any], labels: npt.NDArray[Any] | None
) -> Accuracy:
    """Compare scores with those of the float model, and with labels where there are some.

    Args:
        scores: ``float[samples, ...]`` of the quantized model.
        expected: Those of the float model.
        labels: ``int64[samples]`` or ``None``.

    Raises:
        InputError: Shapes or labels do not fit, or float scores are not finite.
    """
    if scores.shape != expected.shape or not len(scores):
        raise InputError(f"scores are {scores.shape}; the float model's are {expected.shape}")
    ours = scores.reshape(len(scores), -1).astype(np.float64)
    theirs = expected.reshape(len(scores), -1).astype(np.float64)
    if not np.isfinite(theirs).all():
        raise InputError("scores of the float model are not finite")
    agree = ours.argmax(axis=1) == theirs.argmax(axis=1)
    metrics = {
        Metric.AGREEMENT: wilson(int(agree.sum()), len(agree)),
        Metric.SQNR: sqnr(ours, theirs),
        Metric.COSINE: _cosine(ours, theirs),
    }
    if labels is None:
        return Accuracy(len(ours), metrics, agree)
    known = check_labels(labels, len(ours), ours.shape[1])
    correct = ours.argmax(axis=1) == known
    # A stable order gives equal scores the rank of the smaller class, as argmax does.
    best = np.argsort(-ours, axis=1, kind="stable")[:, :5]
    among = (best == known[:, None]).any(axis=1)
    metrics[Metric.TOP1] = wilson(int(correct.sum()), len(correct))
    metrics[Metric.TOP5] = wilson(int(among.sum()), len(among))
    return Accuracy(len(ours), metrics, correct)


def wilson(hits: int, samples: int) -> Estimate:
    """A fraction with Wilson's score interval.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, 1927.
    """
    share = hits / samples
    denominator = 1 + Z_95**2 / samples
    middle = (share + Z_95**2 / (2 * samples)) / denominator
    half = Z_95 * sqrt(share * (1 - share) / samples + Z_95**2 / (4 * samples**2)) / denominator
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def sqnr(values: Scores, expected: Scores) -> Estimate:
    """Signal to quantization noise in dB, over all samples.

    Args:
        values: ``float[samples, n]``.
        expected: The signal.
    """
    signal = (expected.astype(np.float64) ** 2).sum(axis=1)
    noise = ((values.astype(np.float64) - expected) ** 2).sum(axis=1)
    drawn = _resamples(len(signal))
    spread = _decibels(signal[drawn].sum(axis=1), noise[drawn].sum(axis=1))
    low, high = np.percentile(spread, [2.5, 97.5])
    value = float(_decibels(signal.sum(), noise.sum()))
    return Estimate(value, min(float(low), value), max(float(high), value))


def paired_difference(ours: Flags, theirs: Flags) -> Estimate:
    """Difference of two accuracies on the same samples, by bootstrap over the samples.

    Args:
        ours, theirs: ``bool[samples]``.
    """
    difference = ours.astype(np.float64) - theirs
    low, high = np.percentile(difference[_resamples(len(difference))].mean(axis=1), [2.5, 97.5])
    return Estimate(float(difference.mean()), float(low), float(high))


def _cosine(ours: Scores, theirs: Scores) -> Estimate:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    same = (ours == theirs).all(axis=1)
    cosine = np.where(
        lengths > 0, (ours * theirs).sum(axis=1) / np.where(lengths > 0, lengths, 1), same
    )
    low, high = np.percentile(cosine[_resamples(len(cosine))].mean(axis=1), [2.5, 97.5])
    value = float(cosine.mean())
    return Estimate(value, min(float(low), value), max(float(high), value))


def _resamples(samples: int) -> npt.NDArray[np.int64]:
    """The same draws for every metric: ``int64[1000, samples]``."""
    return np.random.default_rng(0).integers(0, samples, (_RESAMPLES, samples))


def _decibels(signal: npt.ArrayLike, noise: npt.ArrayLike) -> npt.NDArray[np.float64]:
    power, lost = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    smallest = 1e-300
    found = 10 * (np.log10(np.maximum(power, smallest)) - np.log10(np.maximum(lost, smallest)))
    return np.clip(np.where(lost > 0, found, MOST_DB), -MOST_DB, MOST_DB)
