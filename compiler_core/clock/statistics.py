"""What repeats of a measurement by the clock tell, whatever their distribution is.

Times by the clock are skewed, have outliers, and one repeat resembles the one before. So everything
here stands on ranks: the median, its interval between two order statistics, and the test of Mann
and Whitney. Where neighbours resemble one another, an interval is as wide as that of the fewer
independent values that they are worth.

Sources: H. A. David and H. N. Nagaraja, Order Statistics, 2003 (section 7.1); H. B. Mann and D. R.
Whitney, On a Test of Whether One of Two Random Variables is Stochastically Larger than the Other,
1947.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, floor, sqrt

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""Confidence of intervals."""

Floats = npt.NDArray[np.float64]

_MOST_ALIKE = 0.9
"""Of neighbouring repeats: an interval is widened as if they were no more alike."""


@dataclass(frozen=True)
class Interval:
    """A median and its confidence interval.

    Attributes:
        value: The median.
        low, high: Its interval, two of the samples.
        samples: How many.
        level: Chance that the interval holds the median of independent samples: less than
            :data:`LEVEL` where there are fewer than six, which no interval makes good.
    """

    value: float
    low: float
    high: float
    samples: int
    level: float

    @property
    def spread(self) -> float:
        """Half of its width as a share of the median."""
        return (self.high - self.low) / (2 * self.value) if self.value else 0.0

    def meets(self, other: Interval) -> bool:
        """Whether the two have a value in common: they are not told apart."""
        return self.low <= other.high and other.low <= self.high


def median_interval(samples: Sequence[float] | Floats, level: float = LEVEL) -> Interval:
    """The median of samples in the order in which they were made, with its interval.

    The interval lies between two order statistics: of ``n`` independent samples, ``k`` at most are
    below the median with the chance that a binomial distribution says. Alike neighbours widen it.

    Args:
        samples: At least one.
        level: Of confidence.
    """
    values = np.asarray(samples, np.float64)
    count = len(values)
    rank = interval_rank(count, level)
    inside = 1.0 - 2.0 * _binomial_below(count, rank)
    wider = sqrt((1 + alikeness(values)) / (1 - alikeness(values)))
    half = (count - 1 - 2 * rank) / 2 * wider
    first = max(0, floor((count - 1) / 2 - half))
    ordered = np.sort(values)
    return Interval(
        float(np.median(values)),
        float(ordered[first]),
        float(ordered[count - 1 - first]),
        count,
        inside,
    )


def interval_rank(count: int, level: float) -> int:
    """Index of the order statistic that an interval begins with; it ends as far from the last."""
    rank = 0
    while 2 * (rank + 1) < count and 1 - 2 * _binomial_below(count, rank + 1) >= level:
        rank += 1
    return rank


def _binomial_below(count: int, rank: int) -> float:
    """Chance that at most ``rank`` of ``count`` samples lie below the median."""
    return float(sum(comb(count, k) for k in range(rank + 1)) / 2**count)


def alikeness(samples: Sequence[float] | Floats) -> float:
    """How much a repeat tells of the next one, from 0 to 0.9: correlation of the signs of
    neighbours around the median, which no outlier moves."""
    values = np.asarray(samples, np.float64)
    signs = np.sign(values - np.median(values))
    power = float((signs**2).sum())
    if len(values) < 4 or not power:
        return 0.0
    return min(max(float((signs[1:] * signs[:-1]).sum()) / power, 0.0), _MOST_ALIKE)


def ratio_interval(
    ours: Sequence[float] | Floats, theirs: Sequence[float] | Floats, level: float = LEVEL
) -> Interval:
    """The median of the ratios of pairs that were made next to one another: what slows both, as a
    lower clock rate does, leaves it as it is.

    Args:
        ours, theirs: As many, in the order in which they were made; all above 0.
    """
    return median_interval(np.asarray(ours, np.float64) / np.asarray(theirs, np.float64), level)


def chance_of_slower(ours: Sequence[float] | Floats, theirs: Sequence[float] | Floats) -> float:
    """One-sided p of Mann and Whitney: the chance to see ``ours`` as far above ``theirs`` as they
    are, if both had one distribution. By the normal approximation with ties and continuity, which
    is good from about eight samples on.

    Args:
        ours, theirs: At least one each.
    """
    one, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    n, m = len(one), len(other)
    _, numbers, counts = np.unique(
        np.concatenate([one, other]), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[numbers]
    above = float(ranks[:n].sum()) - n * (n + 1) / 2
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:  # all are equal
        return 1.0
    deviations = (above - n * m / 2 - 0.5) / sqrt(variance)
    return 0.5 * erfc(deviations / sqrt(2))


def is_steady(before: Sequence[float], now: Sequence[float]) -> bool:
    """Whether a window of repeats continues the one before: its median lies within that one."""
    return min(before) <= float(np.median(now)) <= max(before)


def drifts(samples: Sequence[float] | Floats, share: float) -> bool:
    """Whether the second half of the samples is another distribution than the first: beyond
    chance (one in a thousand), and by more than ``share`` of the median."""
    values = np.asarray(samples, np.float64)
    first, second = values[: len(values) // 2], values[len(values) // 2 :]
    if len(first) < 8:
        return False
    before, after = float(np.median(first)), float(np.median(second))
    chance = min(chance_of_slower(second, first), chance_of_slower(first, second))
    return abs(after - before) > share * before and 2 * chance < 1e-3
