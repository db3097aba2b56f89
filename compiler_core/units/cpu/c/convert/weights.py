"""Weights, biases and factors of weighted operators in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.scheme import RangeMethod
from compiler_core.units.cpu.c.arithmetic.fixed_point import quantized_factor
from compiler_core.units.cpu.c.arithmetic.weighted import WeightedRequantization
from compiler_core.units.cpu.c.convert.builder import Refusal
from compiler_core.units.cpu.c.network import Type

_LEAST_SCALE = 2.0**-60
_MOST_BIAS, _MOST_WIDE_BIAS = 2.0**30, 2.0**46
"""A bias stays below a half of what holds sums, the products have the rest."""
MOST_WIDE_SHIFT = 14


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Weights of an operator.

    Attributes:
        weights: ``int8[O, ...]``.
        bias: ``int64[O]``, of scale input times weight.
        scaling: From accumulators to the result.
    """

    weights: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int64]
    scaling: WeightedRequantization


def integer_weights(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32] | None,
    bits: int,
    source: Type,
    result: Type,
    clip: tuple[float, float] | None,
    method: RangeMethod = RangeMethod.MAX,
) -> IntegerWeights:
    """Symmetric integers per output channel; sums of 64 bits where activations have 16.

    Args:
        weight: ``[O, ...]``, finite.
        bias: ``[O]``, finite.
        bits: 8 or 4.
        source, result: Types of the activations.
        clip: Clamp of real results.
        method: How the scale of a channel follows from its weights.

    Raises:
        Refusal: Sums may exceed their bits, or a factor is too large.
    """
    wide = source.dtype == "int16"
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    most = 2 ** (bits - 1) - 1
    largest = np.abs(flat).max(axis=1, initial=0)
    if method is RangeMethod.MSE:
        largest = largest * _best_shares(flat, largest, most)
    scales = np.where(largest > 0, largest / most, 1.0)
    offsets = np.zeros(len(flat)) if bias is None else bias.astype(np.float64)
    most_bias = _MOST_WIDE_BIAS if wide else _MOST_BIAS
    # A channel of small weights and a large bias gets coarser weights, so that the bias fits.
    scales = np.maximum(scales, np.abs(offsets) / (source.scale * most_bias))
    scales = np.maximum(scales, _LEAST_SCALE).astype(np.float32).astype(np.float64)
    integers = np.clip(np.rint(flat / scales[:, None]), -most, most)
    whole_bias = np.rint(offsets / (source.scale * scales)).astype(np.int64)
    if not wide:  # there they cannot
        check_sums(integers, whole_bias, source)
    factors = [quantized_factor(source.scale * scale / result.scale) for scale in scales]
    if wide and max(shift for _, shift in factors) > MOST_WIDE_SHIFT:
        raise Refusal(f"a channel is scaled by 2**{MOST_WIDE_SHIFT} and more")
    low, high = clamp(result, clip)
    scaling = WeightedRequantization(
        np.array([multiplier for multiplier, _ in factors], np.int64),
        np.array([shift for _, shift in factors], np.int64),
        result.zero_point,
        low,
        high,
        wide,
    )
    return IntegerWeights(integers.astype(np.int8).reshape(weight.shape), whole_bias, scaling)


_SHARES = np.linspace(1.0, 0.4, 25)
"""Of a channel's largest weight: where weights are clipped."""


def _best_shares(
    flat: npt.NDArray[np.float64], largest: npt.NDArray[np.float64], most: int
) -> npt.NDArray[np.float64]:
    """The share of each channel's largest weight that gives the least squared error."""
    errors = np.empty((len(_SHARES), len(flat)))
    for at, share in enumerate(_SHARES):
        steps = np.where(largest > 0, share * largest / most, 1.0)[:, None]
        errors[at] = ((np.clip(np.rint(flat / steps), -most, most) * steps - flat) ** 2).sum(axis=1)
    return np.asarray(_SHARES[errors.argmin(axis=0)])


def check_sums(
    integers: npt.NDArray[np.float64], bias: npt.NDArray[np.int64], source: Type
) -> None:
    """Proves that no sum of a channel leaves int32.

    Raises:
        Refusal: One may.
    """
    low, high = source.limits
    farthest = max(high - source.zero_point, source.zero_point - low)
    sums = np.abs(integers).sum(axis=1) * farthest + np.abs(bias)
    if (sums >= 2.0**31).any():
        raise Refusal(f"sums of channel {int(np.argmax(sums))} may exceed 32 bits")


def clamp(result: Type, clip: tuple[float, float] | None) -> tuple[int, int]:
    """Integers between which a result is clamped."""
    low, high = result.limits
    if clip is None:
        return low, high
    found = [
        int(np.clip(np.rint(np.clip(end / result.scale, -1e9, 1e9)) + result.zero_point, low, high))
        for end in clip
    ]
    return found[0], max(found)
