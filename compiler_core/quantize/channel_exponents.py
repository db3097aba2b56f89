"""Power-of-two scales per output channel: every channel of a convolution has a right shift of its
own.

Symbols are those of :mod:`compiler_core.quantize.exponents`; here ``ew`` and ``shift`` are vectors
``int64[O]``, and a shift is 0..31.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.skeleton import INT8_LEVELS, ConvStep

MAX_SHIFT = 31
INPUT_MAGNITUDE = 128
ACCUMULATOR_LIMIT = 2**31
_BIAS_BITS = 8

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


def fitting_channel_exponents(weight: _Floats, levels: int = INT8_LEVELS) -> _Integers:
    """The finest exponent per channel at which nothing is clipped.

    Args:
        weight: ``float64[O, ...]``; a channel of zeros gets 0.
        levels: The largest integer.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1, initial=0)
    mantissa, power = np.frexp(largest)
    bits = levels.bit_length()
    found = np.where(mantissa * (levels + 1) <= levels + 0.5, bits, bits - 1) - power
    return np.where(largest > 0, found, 0).astype(np.int64)


def least_error_channel_exponents(
    weight: _Floats, most_clipping: int, levels: int = INT8_LEVELS
) -> _Integers:
    """The exponent per channel with the least squared error, from the fitting one on."""
    fitting = fitting_channel_exponents(weight, levels)
    flat = weight.reshape(len(weight), -1)
    errors = []
    for finer in range(most_clipping + 1):
        exponent = (fitting + finer)[:, None]
        scaled = np.ldexp(flat, exponent)
        error = np.clip(np.rint(scaled), -levels, levels) - scaled
        errors.append((np.ldexp(error, -exponent) ** 2).sum(axis=1))
    finest: _Integers = fitting + np.argmin(errors, axis=0)
    return finest


def channel_integers(
    step: ConvStep,
    ex: int,
    ey: int,
    wanted: _Integers,
    bias_for: Callable[[ConvStep, _Floats], _Floats] = lambda step, _: step.bias,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int32]] | int:
    """Weights, bias and shifts of ``step``; or the exponent that its output has to come down to.

    Args:
        step: Without a residual.
        ex, ey: Exponents of input and output.
        wanted: Exponent of the weights per channel; lowered where the accumulator would overflow.
        bias_for: The bias, given the rounded weights in the shape of the step's.
    """
    flat = step.weight.reshape(len(step.weight), -1)
    # Where only the bias is left, it gets eight more bits than the output.
    exponents = np.where(flat.any(axis=1), wanted, ey - ex + _BIAS_BITS)
    exponents = np.minimum(exponents, MAX_SHIFT + ey - ex)
    while True:
        shifts = ex + exponents - ey
        if shifts.min(initial=0) < 0:
            return int(ex + exponents.min())
        weight = np.clip(np.rint(np.ldexp(flat, exponents[:, None])), -step.levels, step.levels)
        rounded = np.ldexp(weight, -exponents[:, None]).reshape(step.weight.shape)
        bias = np.rint(np.ldexp(bias_for(step, rounded), ex + exponents))
        half = np.where(shifts > 0, np.ldexp(0.5, shifts), 0.0)
        # Sums beyond 2**53 are rounded, but those are far beyond the limit too.
        bound = np.abs(weight).sum(axis=1) * INPUT_MAGNITUDE + np.abs(bias) + half
        over = bound >= ACCUMULATOR_LIMIT
        if not over.any():
            integers = weight.astype(np.int8).reshape(step.weight.shape)
            return integers, bias.astype(np.int32), shifts.astype(np.int32)
        exponents = exponents - over
