"""What is known of a tensor's values, and how it grows while samples stream by.

| symbol | meaning |
|---|---|
| ``axis`` | an axis of the graph tensor, the batch being axis 0 |
| channel | one index of an axis |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.magnitudes import NO_MAGNITUDES, Magnitudes

_COUNTED = 1 << 16
"""Values of one tensor that are counted per batch; of larger tensors every n-th, n odd."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Statistics of every channel along one axis.

    Attributes:
        low, high, mean: ``float64[channels]``.
    """

    low: Floats
    high: Floats
    mean: Floats


@dataclass(frozen=True, eq=False)
class TensorRange:
    """What is known of a tensor's values.

    Attributes:
        low, high: The smallest and the largest.
        positive, negative: How often magnitudes of positive and of negative values occur; ``None``
            where nobody counted.
        channels: By axis; empty where nobody looked.
    """

    low: float
    high: float
    positive: Magnitudes | None = None
    negative: Magnitudes | None = None
    channels: Mapping[int, ChannelStatistics] = field(default_factory=dict)

    UNBOUNDED: ClassVar[TensorRange]
    """Of a tensor that is not finite everywhere."""

    @property
    def bounded(self) -> bool:
        """Whether all values are finite."""
        return isfinite(self.low) and isfinite(self.high)

    @property
    def absmax(self) -> float:
        """Largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def magnitudes(self) -> Magnitudes | None:
        """Magnitudes of all values."""
        if self.positive is None or self.negative is None:
            return None
        return self.positive.joined(self.negative)


TensorRange.UNBOUNDED = TensorRange(-inf, inf)


_NARROW = 16
"""Channels of a last axis up to which each may be looked at alone: NumPy takes 50 times as long for
a narrow last axis as for a long one."""
_ROWS_PER_CHANNEL = 64
"""Rows per channel from which on it is: a call for each channel takes as long as a few hundred."""


def _extremes(value: npt.NDArray[np.floating], axis: int, function: Any) -> Floats:
    """Smallest or largest value per channel."""
    channels = value.shape[axis]
    rows = value.size // max(1, channels)
    if axis == value.ndim - 1 and channels <= _NARROW and rows >= _ROWS_PER_CHANNEL * channels:
        return np.array([function(part) for part in np.moveaxis(value, axis, 0)], np.float64)
    others = tuple(other for other in range(value.ndim) if other != axis)
    return np.asarray(function(value, axis=others), np.float64)


class RunningStatistics:
    """Statistics of one tensor over batches: a fixed amount of memory.

    Args:
        axes: Axes whose channels are kept apart.
    """

    def __init__(self, axes: tuple[int, ...]) -> None:
        self._low, self._high = np.inf, -np.inf
        self._positive = self._negative = NO_MAGNITUDES
        self._axes = axes
        self._lows: dict[int, Floats] = {}
        self._highs: dict[int, Floats] = {}
        self._sums: dict[int, Floats] = {}
        self._values: dict[int, int] = {}

    def add(self, value: npt.NDArray[np.floating]) -> tuple[float, float]:
        """Take a batch in; returns its smallest and largest value and keeps nothing if not finite.

        Args:
            value: ``float[samples, ...]``.
        """
        least, most = float(value.min()), float(value.max())
        if not (np.isfinite(least) and np.isfinite(most)):
            return least, most
        self._low, self._high = min(self._low, least), max(self._high, most)
        counted = value.reshape(-1)[:: value.size // _COUNTED | 1]
        self._positive = self._positive.with_values(counted[counted > 0])
        if least < 0:
            self._negative = self._negative.with_values(counted[counted < 0])
        for axis in self._axes:
            self._add_channels(axis, value)
        return least, most

    def _add_channels(self, axis: int, value: npt.NDArray[np.floating]) -> None:
        others = tuple(other for other in range(value.ndim) if other != axis)
        low, high = (_extremes(value, axis, function) for function in (np.min, np.max))
        # float32 sums over one sample's pixels, float64 over samples: accurate and fast.
        inner = tuple(other for other in others if other)
        with np.errstate(over="ignore"):
            sums = value.sum(axis=inner)
        if not np.isfinite(sums).all():  # masks of attention are near float32's least value
            sums = value.sum(axis=inner, dtype=np.float64)
        total = sums.reshape(len(value), -1).sum(axis=0, dtype=np.float64)
        if axis in self._sums:
            low, high = np.minimum(low, self._lows[axis]), np.maximum(high, self._highs[axis])
            total = total + self._sums[axis]
        self._lows[axis], self._highs[axis], self._sums[axis] = low, high, total
        self._values[axis] = self._values.get(axis, 0) + value.size // value.shape[axis]

    def snapshot(self) -> TensorRange:
        """What is known so far."""
        channels = {
            axis: ChannelStatistics(
                self._lows[axis], self._highs[axis], self._sums[axis] / self._values[axis]
            )
            for axis in self._sums
        }
        return TensorRange(self._low, self._high, self._positive, self._negative, channels)
