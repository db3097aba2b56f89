"""Confidence intervals of measured values. Samples are independent of one another; the positions of
one sample (pixels, tokens, anchors) are not, so many of them make an interval no narrower than
their differences between samples allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, inf, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.noise import Noise, decibels
from compiler_core.accuracy.tally import Tally

Z_95 = 1.959963984540054
_BISECTIONS = 50
_RESAMPLES = 1000
_DRAWS = 1 << 23
"""Drawn samples that an interval takes: of more samples there are fewer draws."""
_TOGETHER = 1 << 16
"""Of these, at a time."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, samples: float) -> Estimate:
    """A fraction with Wilson's score interval.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, 1927.
    """
    share = hits / samples
    denominator = 1 + Z_95**2 / samples
    middle = (share + Z_95**2 / (2 * samples)) / denominator
    half = Z_95 * sqrt(share * (1 - share) / samples + Z_95**2 / (4 * samples**2)) / denominator
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def share(tally: Tally) -> Estimate:
    """The share that is right: Wilson's interval, for several positions with as many independent
    values as have the variance that is seen between samples.

    Source: E. L. Korn and B. I. Graubard, Confidence Intervals for Proportions with Small Expected
    Number of Positive Counts Estimated from Survey Data, 1998.
    """
    value, samples = tally.value, tally.samples
    if tally.positions == 1:
        return wilson(tally.hits, samples)
    effective = float(samples)
    if samples > 1:
        from scipy.special import stdtrit  # loaded where it is used: it takes long

        variance = float(tally.shares.var(ddof=1)) / samples
        if variance > 0:
            effective = min(value * (1 - value) / variance, float(tally.total))
        effective *= (Z_95 / float(stdtrit(samples - 1, 0.975))) ** 2
    found = wilson(value * effective, effective)
    return Estimate(value, min(found.low, value), max(found.high, value))


def sqnr(noise: Noise) -> Estimate:
    """Signal to quantization noise in dB, by bootstrap over the samples."""
    worst = noise.worst
    signal, error = _resampled_sums(worst.signal, worst.noise)
    spread = decibels(signal, error)
    low, high = np.percentile(spread, [2.5, 97.5])
    return _around(noise.value, float(low), float(high))


def mean(values: Floats) -> Estimate:
    """A mean over samples, by bootstrap: ``float64[n]``."""
    (sums,) = _resampled_sums(values)
    low, high = np.percentile(sums / len(values), [2.5, 97.5])
    return _around(float(values.mean()), float(low), float(high))


def paired_share_difference(gained: int, lost: int, samples: int) -> Estimate:
    """Difference of two shares on the same samples, by their score interval: Wilson's, of pairs.
    It has a width also where no sample differs.

    Source: T. Tango, Equivalence Test and Confidence Interval for the Difference in Proportions for
    the Paired-Sample Design, 1998.

    Args:
        gained: Samples that are right in the first alone.
        lost: In the second alone.
        samples: How many there are.
    """

    def deviations(difference: float) -> float:
        """How far from a true difference the counts are, in standard deviations."""
        linear = (2 * samples - gained + lost) * difference - gained - lost
        constant = lost * difference * (1 - difference)
        rare = (sqrt(linear**2 + 8 * samples * constant) - linear) / (4 * samples)
        variance = samples * (2 * rare + difference * (1 - difference))
        away = gained - lost - samples * difference
        return away / sqrt(variance) if variance > 0 else copysign(inf, away) if away else 0.0

    value = (gained - lost) / samples
    low = _crossing(deviations, -1.0, value, Z_95)
    return Estimate(value, low, _crossing(deviations, value, 1.0, -Z_95))


def _crossing(falling: Callable[[float], float], low: float, high: float, level: float) -> float:
    """Where a function that falls from ``low`` to ``high`` passes ``level``, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return (low + high) / 2


def paired_difference(ours: npt.NDArray[np.generic], theirs: npt.NDArray[np.generic]) -> Estimate:
    """Difference of two means on the same samples, by bootstrap over the samples.

    Args:
        ours, theirs: ``bool[n]``, or the share of each sample, ``float64[n]``.
    """
    difference = ours.astype(np.float64) - theirs.astype(np.float64)
    (sums,) = _resampled_sums(difference)
    low, high = np.percentile(sums / len(difference), [2.5, 97.5])
    return Estimate(float(difference.mean()), float(low), float(high))


def _around(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, min(low, value), max(high, value))


def _resampled_sums(*values: npt.NDArray[Any]) -> list[Floats]:
    """Sums over the same draws of samples, which are those of every metric: ``float64[1000]``
    each, fewer of many samples, whose means are nearly normal, so that some hundred tell as much.
    """
    samples = len(values[0])
    draws = max(200, min(_RESAMPLES, _DRAWS // max(1, samples)))
    generator = np.random.default_rng(0)
    sums = [np.zeros(draws) for _ in values]
    together = max(1, _TOGETHER // max(1, samples))
    for start in range(0, draws, together):
        stop = min(draws, start + together)
        drawn = generator.integers(0, samples, (stop - start, samples))
        for total, value in zip(sums, values, strict=True):
            total[start:stop] = value[drawn].sum(axis=1)
    return sums
