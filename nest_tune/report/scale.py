"""Axes: from values to places on a page, and the round numbers to write beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

_LOG_FROM_RATIO = 12.0
"""Largest over smallest value from which an axis is logarithmic."""

_LOG_TO_RATIO = 1e12
"""Beyond it the smallest value is as good as zero."""


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low, high: Values at its ends.
        start, end: Their places.
        is_log: Whether equal steps are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Place of a value; what lies outside is put on the nearer end."""
        clipped = min(max(value, self.low), self.high)
        if self.is_log:
            share = (log10(clipped) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (clipped - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """About so many round values within the axis."""
        return _log_ticks(self, wanted) if self.is_log else _linear_ticks(self, wanted)


def fit(values: Sequence[float], start: float, end: float, *, is_log: bool | None = None) -> Scale:
    """An axis that holds all values with a margin.

    Args:
        values: Finite; at least one.
        start, end: Places of the ends.
        is_log: ``None`` chooses: logarithmic where positive values differ by a large factor.
    """
    known = [value for value in values if isfinite(value)]
    low, high = min(known), max(known)
    if is_log is None:
        is_log = low * _LOG_FROM_RATIO < high < low * _LOG_TO_RATIO
    if is_log:
        margin = max((high / low) ** 0.06, 1.1)
        return Scale(low / margin, high * margin, start, end, is_log=True)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    floor_at_zero = low >= 0 and low - margin < 0
    return Scale(0.0 if floor_at_zero else low - margin, high + margin, start, end)


def _linear_ticks(scale: Scale, wanted: int) -> list[float]:
    raw = (scale.high - scale.low) / max(wanted, 1)
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = ceil(scale.low / step - 1e-9), floor(scale.high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(scale: Scale, wanted: int) -> list[float]:
    found: list[float] = []
    for marks in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        powers = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
        values = [mark * 10.0**power for power in powers for mark in marks]
        found = [value for value in values if scale.low <= value <= scale.high]
        if len(found) >= min(wanted, 3):
            break
    every = max(1, ceil(len(found) / max(wanted, 1)))
    if len(found) >= 2:
        return found[::every]
    return _linear_ticks(scale, wanted)


def short(value: float) -> str:
    """A number as it is written on an axis: ``0.35``, ``12k``, ``3.4M``."""
    if not isfinite(value):
        return str(value)
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= factor:
            return f"{value / (1e3 if suffix == 'k' else factor):.4g}{suffix}"
    return f"{value:.4g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"
