"""Sums of floats that are the same in every version of Python."""

from __future__ import annotations

from collections.abc import Iterable


def float_sum(values: Iterable[float]) -> float:
    """The sum of floats, added one after another.

    The built-in ``sum`` compensates its rounding from Python 3.12 on, so the last bits of what it
    gives, and whatever is decided by them, would belong to a version.
    """
    total: float = 0
    for value in values:
        total += value
    return total
