"""From the histogram of a tensor to the magnitude that its largest integer stands for.

All methods work on :class:`~compiler_core.quantize.magnitudes.Magnitudes`; bins are represented by
their middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ldexp

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.magnitudes import BINS, Magnitudes
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.quantize.statistics import TensorRange

PERCENTILE = 0.9999
MOST_CLIPPING = 3
"""Magnitudes are cut to an eighth at most: by three powers of two."""
_CANDIDATES = 25
_ROOM = 1.25

_Floats = npt.NDArray[np.float64]


def clipped_magnitude(
    magnitudes: Magnitudes | None, absmax: float, method: RangeMethod, levels: int
) -> float:
    """The magnitude that ``levels`` stands for; ``absmax`` where nobody counted.

    Args:
        magnitudes: Counts of the values.
        absmax: The largest magnitude.
        method: How to choose.
        levels: Largest integer: 127, 255, ….
    """
    if magnitudes is None or not magnitudes.counts.any() or method is RangeMethod.MAX:
        return absmax
    if method is RangeMethod.ROOMY:
        return _ROOM * clipped_magnitude(magnitudes, absmax, RangeMethod.MSE, levels)
    if method is RangeMethod.PERCENTILE:
        return min(absmax, percentile(magnitudes, PERCENTILE))
    smallest = absmax * 2.0**-MOST_CLIPPING
    candidates = list(np.geomspace(absmax, smallest, _CANDIDATES))
    return choose(magnitudes, candidates, method, levels)


def with_room(known: TensorRange) -> TensorRange:
    """Statistics of values a quarter larger, without those of channels; as they are where nobody
    counted."""
    if known.positive is None or known.negative is None:
        return known
    positive, negative = known.positive.scaled(_ROOM), known.negative.scaled(_ROOM)
    return TensorRange(_ROOM * known.low, _ROOM * known.high, positive, negative)


def choose(
    magnitudes: Magnitudes, candidates: Sequence[float], method: RangeMethod, levels: int
) -> float:
    """The first of ``candidates`` with the least error by ``method`` (KL or MSE)."""
    measure: Callable[[Magnitudes, float, int], float] = (
        kl_divergence if method is RangeMethod.KL else squared_error
    )
    errors = [measure(magnitudes, float(candidate), levels) for candidate in candidates]
    return float(candidates[int(np.argmin(errors))])


def percentile(magnitudes: Magnitudes, fraction: float) -> float:
    """The upper end of the bin in which ``fraction`` of the counted magnitudes is reached."""
    reached = np.cumsum(magnitudes.counts) >= fraction * magnitudes.counts.sum()
    return ldexp((int(np.argmax(reached)) + 1) / BINS, magnitudes.power)


def squared_error(magnitudes: Magnitudes, largest: float, levels: int) -> float:
    """Sum of squared errors where integer ``levels`` stands for magnitude ``largest``."""
    used = np.flatnonzero(magnitudes.counts)
    values = np.ldexp((used + 0.5) / BINS, magnitudes.power)
    step = largest / levels
    error = np.minimum(np.rint(values / step), levels) * step - values
    return float((magnitudes.counts[used] * error**2).sum())


def kl_divergence(magnitudes: Magnitudes, largest: float, levels: int) -> float:
    """Divergence of the histogram, what is clipped put into its last bin, from its quantized self.

    Source: Migacz, 8-bit Inference with TensorRT, with bins of the quantized histogram that end at
    multiples of the step.
    """
    used = np.flatnonzero(magnitudes.counts)
    values = np.ldexp((used + 0.5) / BINS, magnitudes.power)
    counts = magnitudes.counts[used].astype(np.float64)
    inside = values <= largest
    if not inside.any():
        return float("inf")
    kept = counts[inside]
    reference = kept.copy()
    reference[-1] += counts[~inside].sum()
    level = np.minimum(np.rint(values[inside] * levels / largest), levels).astype(np.int64)
    # Each integer spreads what it holds evenly over the bins that it stands for.
    held = np.bincount(level, kept)
    bins = np.bincount(level)
    spread = held[level] / bins[level]
    p, q = reference / reference.sum(), spread / spread.sum()
    return float((p * np.log(p / q)).sum())
