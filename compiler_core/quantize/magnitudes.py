"""How often a tensor's magnitudes occur: a histogram whose range doubles when a larger value comes.

Doubling joins neighbouring bins, so one pass over data of unknown range is enough, and power-of-two
bins never straddle the limit of a power-of-two scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.blocks import scaled

BINS = 2048
_BLOCK = 1 << 22
"""Values that are counted at once."""


@dataclass(frozen=True)
class Magnitudes:
    """Counts of ``|x|`` for ``x != 0``.

    Attributes:
        counts: ``int64[2048]``; bin ``i`` holds ``[i, i + 1) * 2**power / 2048``.
        power: The range is ``2**power``.
    """

    counts: npt.NDArray[np.int64]
    power: int

    def squared_error(self, exponent: int, levels: int = 127) -> float:
        """Sum of squared errors of rounding to ``integer * 2**-exponent``, integers up to
        ``levels``."""
        used = np.flatnonzero(self.counts)
        scaled = np.ldexp((used + 0.5) / BINS, self.power + exponent)
        error = np.ldexp(np.minimum(np.rint(scaled), float(levels)) - scaled, -exponent)
        return float((self.counts[used] * error**2).sum())

    @property
    def power_sum(self) -> float:
        """Sum of squares, every value taken for the middle of its bin."""
        used = np.flatnonzero(self.counts)
        middles = np.ldexp((used + 0.5) / BINS, self.power)
        return float((self.counts[used] * middles**2).sum())

    def scaled(self, factor: float) -> Magnitudes:
        """Counts of ``factor * |x|``, every value taken for the middle of its bin."""
        used = np.flatnonzero(self.counts)
        if not used.size:
            return self
        middles = np.ldexp((used + 0.5) / BINS, self.power) * factor
        power = frexp(float(middles.max()))[1]
        places = (np.ldexp(middles, -power) * BINS).astype(np.int64)
        counts = np.zeros(BINS, np.int64)
        np.add.at(counts, places, self.counts[used])
        return Magnitudes(counts, power)

    def joined(self, other: Magnitudes) -> Magnitudes:
        """The counts of both."""
        power = max(self.power, other.power)
        if not self.counts.any() or not other.counts.any():
            return other if other.counts.any() else self
        return Magnitudes(self._widened(power) + other._widened(power), power)

    def _widened(self, power: int) -> npt.NDArray[np.int64]:
        """The counts for the range ``2**power``, which is not smaller."""
        counts = self.counts
        for _ in range(min(power - self.power, BINS.bit_length())):
            halved = counts.reshape(-1, 2).sum(axis=1)
            counts = np.concatenate([halved, np.zeros_like(halved)])
        return counts

    def with_values(self, values: npt.NDArray[np.floating]) -> Magnitudes:
        """These and the finite ``values``."""
        most = max(float(values.max(initial=0)), -float(values.min(initial=0)))
        if not most:
            return self
        needed = frexp(most)[1]
        power = max(needed, self.power) if self.counts.any() else needed
        counts = self._widened(power) if self.counts.any() else self.counts
        flat = values.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            places = scaled(np.abs(block, dtype=np.float64), -power) * BINS
            counts = counts + np.bincount(places.astype(np.int64), minlength=BINS)
            counts[0] -= block.size - np.count_nonzero(block)  # zeros have no magnitude
        return Magnitudes(counts, power)


NO_MAGNITUDES = Magnitudes(np.zeros(BINS, dtype=np.int64), 0)


def least_error_exponent(
    magnitudes: Magnitudes, fitting: int, most_clipping: int, levels: int = 127
) -> int:
    """The exponent with the least squared error from ``fitting`` on, which clips nothing.

    Args:
        magnitudes: What is rounded.
        fitting: The finest exponent that clips nothing.
        most_clipping: How many exponents finer to try; each halves the range.
        levels: The largest integer.
    """
    candidates = range(fitting, fitting + most_clipping + 1)
    return min(candidates, key=lambda e: magnitudes.squared_error(e, levels))
