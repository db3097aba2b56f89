"""Power-of-two scales per output channel: every channel of a convolution has a right shift of its
own.

Symbols are those of :mod:`compiler_core.quantize.exponents`; here ``ew`` and ``shift`` are vectors
``int64[O]``, and a shift is 0..31.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.blocks import (
    Integers,
    Reals,
    rounded,
    row_blocks,
    scaled,
    signed_sums,
)
from compiler_core.quantize.kept_results import kept
from compiler_core.quantize.skeleton import INT8_LEVELS, ConvStep

MAX_SHIFT = 31
INPUT_MAGNITUDE = 128
ACCUMULATOR_LIMIT = 2**31
_BIAS_BITS = 8

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


@kept
def fitting_channel_exponents(weight: Reals, levels: int = INT8_LEVELS) -> _Integers:
    """The finest exponent per channel at which nothing is clipped.

    Args:
        weight: ``float[O, ...]``; a channel of zeros gets 0.
        levels: The largest integer.
    """
    flat = weight.reshape(len(weight), -1)
    largest = np.maximum(flat.max(axis=1, initial=0), -flat.min(axis=1, initial=0))
    mantissa, power = np.frexp(largest.astype(np.float64))
    bits = levels.bit_length()
    found = np.where(mantissa * (levels + 1) <= levels + 0.5, bits, bits - 1) - power
    return np.where(largest > 0, found, 0).astype(np.int64)


@kept
def least_error_channel_exponents(
    weight: Reals, most_clipping: int, levels: int = INT8_LEVELS
) -> _Integers:
    """The exponent per channel with the least squared error, from the fitting one on."""
    fitting = fitting_channel_exponents(weight, levels)
    flat = weight.reshape(len(weight), -1)
    errors = np.zeros((most_clipping + 1, len(flat)))
    for rows in row_blocks(flat):
        block = flat[rows].astype(np.float64)
        for finer in range(most_clipping + 1):
            exponent = (fitting[rows] + finer)[:, None]
            wanted = scaled(block, exponent)
            error = np.clip(np.rint(wanted), -levels, levels) - wanted
            errors[finer, rows] = (scaled(error, -exponent) ** 2).sum(axis=1)
    finest: _Integers = fitting + np.argmin(errors, axis=0)
    return finest


def channel_integers(
    step: ConvStep,
    ex: int,
    ey: int,
    wanted: _Integers,
    bias_for: Callable[[ConvStep, Integers, _Integers], _Floats] = lambda step, *_: step.bias,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int32]] | int:
    """Weights, bias and shifts of ``step``; or the exponent that its output has to come down to.

    Args:
        step: Without a residual.
        ex, ey: Exponents of input and output.
        wanted: Exponent of the weights per channel; lowered where the accumulator would overflow.
        bias_for: The bias, given the integers of the weights and their exponents.
    """
    flat = step.weight.reshape(len(step.weight), -1)
    # Where only the bias is left, it gets eight more bits than the output.
    exponents = np.where(flat.any(axis=1), wanted, ey - ex + _BIAS_BITS)
    exponents = np.minimum(exponents, MAX_SHIFT + ey - ex)
    while True:
        shifts = ex + exponents - ey
        if shifts.min(initial=0) < 0:
            return int(ex + exponents.min())
        weight = rounded(step.weight, exponents, step.levels)
        bias = np.rint(np.ldexp(bias_for(step, weight, exponents), ex + exponents))
        half = np.where(shifts > 0, np.ldexp(0.5, shifts), 0.0)
        # Sums beyond 2**53 are rounded, but those are far beyond the limit too.
        positive, negative = signed_sums(weight)
        bound = (positive - negative) * INPUT_MAGNITUDE + np.abs(bias) + half
        over = bound >= ACCUMULATOR_LIMIT
        if not over.any():
            return weight, bias.astype(np.int32), shifts.astype(np.int32)
        exponents = exponents - over
