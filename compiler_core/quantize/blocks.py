"""Weights of a layer as integers, a block of output channels at a time.

The weights of a dense layer can be most of a model; what is made of them on the way to int8, in
float64 and int64, would take many times as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.kept_results import kept

_BLOCK = 1 << 22
"""Weights at a time."""
_EXACT_POWER = 1022
"""Powers of two below it are float64, and their reciprocals, too."""

Reals = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int8]
Exponents = int | npt.NDArray[np.int64]
"""One of all weights, or ``int64[O]``."""


def row_blocks(array: npt.NDArray[Any]) -> Iterator[slice]:
    """Rows of ``array`` in blocks; a small one is one block."""
    step = max(1, _BLOCK * len(array) // max(1, array.size))
    return (slice(start, start + step) for start in range(0, len(array), step))


def scaled(values: npt.NDArray[np.float64], exponents: Exponents) -> npt.NDArray[np.float64]:
    """``values * 2**exponents``, rounded as :func:`numpy.ldexp` does, in a tenth of its time.

    Args:
        values: ``float64[...]``.
        exponents: One, or an array that spreads over ``values``.
    """
    largest = np.abs(exponents).max(initial=0) if np.ndim(exponents) else abs(int(exponents))
    if largest >= _EXACT_POWER:
        return np.asarray(np.ldexp(values, exponents))
    return np.asarray(values * np.ldexp(1.0, exponents))


@kept
def rounded(weight: Reals, exponents: Exponents, levels: int) -> Integers:
    """``weight * 2**exponent`` as integers up to ``levels``.

    Args:
        weight: ``float[O, ...]``.
        exponents: Of all of it, or by output channel.
        levels: The largest integer.
    """
    result = np.empty(weight.shape, np.int8)
    shaped = _shaped(exponents, weight)
    for rows in row_blocks(weight):
        found = scaled(weight[rows].astype(np.float64), shaped[rows])
        result[rows] = np.clip(np.rint(found, out=found), -levels, levels, out=found)
    return result


@kept
def lost_taps(weight: Reals, integers: Integers, exponents: Exponents) -> npt.NDArray[np.float64]:
    """What rounding takes from the weights, summed over each kernel: ``float64[O, I / groups]``.

    Args:
        weight: ``float[O, I / groups, kh, kw]``.
        integers: Of :func:`rounded`.
        exponents: The same.
    """
    taps = np.empty(weight.shape[:2])
    shaped = _shaped(exponents, weight)
    for rows in row_blocks(weight):
        kept = scaled(integers[rows].astype(np.float64), -shaped[rows])
        taps[rows] = (weight[rows] - kept).sum(axis=(2, 3))
    return taps


@kept
def signed_sums(
    weight: npt.NDArray[np.int8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sum of the positive weights, and of the negative ones, by output channel: ``int64[O]``."""
    flat = weight.reshape(len(weight), -1)
    return (
        np.maximum(flat, 0).sum(axis=1, dtype=np.int64),
        np.minimum(flat, 0).sum(axis=1, dtype=np.int64),
    )


def largest_magnitude(weight: Reals) -> float:
    """Of all weights; 0 where there are none."""
    return max(float(weight.max(initial=0.0)), -float(weight.min(initial=0.0)))


def _shaped(exponents: Exponents, weight: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    whole = np.broadcast_to(np.asarray(exponents, np.int64), (len(weight),))
    return whole.reshape(-1, *(1,) * (weight.ndim - 1))
