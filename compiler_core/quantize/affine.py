"""Integers with any scale and zero point: what operators on the CPU compute in.

``integer = clip(round_half_even(real / scale) + zero_point, lowest, highest)`` and
``real = (integer - zero_point) * scale``, in float32 as ONNX defines them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ldexp

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.exponents import Granularity, fitting_exponent
from compiler_core.quantize.range_methods import clipped_magnitude
from compiler_core.quantize.scheme import RangeMethod, Scales
from compiler_core.quantize.statistics import TensorRange

_SMALLEST_SCALE = ldexp(1.0, -60)
WEIGHT_LEVELS = 127
NARROW_LEVELS = 64
"""Of weights of 7 bits: the sum of two products with uint8 fits 16 bits."""


@dataclass(frozen=True)
class AffineType:
    """Integers of a tensor.

    Attributes:
        scale: Positive; a float32 number.
        zero_point: The integer of 0.0.
        dtype: ``int8``, ``uint8``, ``int16`` or ``uint16``.
    """

    scale: float
    zero_point: int
    dtype: str

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest integer, the zero point subtracted."""
        info = np.iinfo(self.dtype)
        return int(info.min) - self.zero_point, int(info.max) - self.zero_point


def activation_type(
    known: TensorRange, scales: Scales, method: RangeMethod, bits: int = 8
) -> AffineType:
    """The integers of an activation; a tensor of zeros gets scale 1.

    Args:
        known: Its statistics.
        scales: Kind of integers.
        method: How the range follows from the statistics.
        bits: 8 or 16.
    """
    signed, unsigned = f"int{bits}", f"uint{bits}"
    levels = 2 ** (bits - 1) - 1
    if known.absmax == 0:
        return AffineType(1.0, 0, signed)
    if scales is Scales.ASYMMETRIC:
        low = -clipped_magnitude(known.negative, max(-known.low, 0.0), method, levels)
        high = clipped_magnitude(known.positive, max(known.high, 0.0), method, levels)
        top = 2**bits - 1
        step = max((high - low) / top, _SMALLEST_SCALE)
        # Of the step before it becomes float32: a range around zero then ends at whole integers.
        return AffineType(_float32(step), int(np.clip(round(-low / step), 0, top)), unsigned)
    if scales is Scales.SYMMETRIC_UINT8 and known.low >= 0:
        top = 2**bits - 1
        high = clipped_magnitude(known.positive, known.high, method, top)
        return AffineType(_float32(high / top), 0, unsigned)
    largest = clipped_magnitude(known.magnitudes, known.absmax, method, levels)
    if scales is Scales.POWER_OF_TWO:
        finer = bits - 8
        return AffineType(ldexp(1.0, -fitting_exponent(largest) - finer), 0, signed)
    return AffineType(_float32(largest / levels), 0, signed)


def activation_integers(known: TensorRange, dtype: str, method: RangeMethod) -> AffineType:
    """Integers of an activation: all of ``dtype``, with a zero point.

    The lowest integer stands for 0 where nothing is negative, so that a runtime needs no Relu.
    """
    signed = dtype.startswith("int")
    bits = np.iinfo(dtype).bits
    found = activation_type(known, Scales.ASYMMETRIC, method, bits)
    middle = 2 ** (bits - 1) if signed else 0
    return AffineType(found.scale, found.zero_point - middle, dtype)


def weight_scales(
    weight: npt.NDArray[np.float64], scales: Scales, granularity: Granularity, method: RangeMethod
) -> npt.NDArray[np.float64]:
    """Scale per output channel, ``float64[O]`` of float32 numbers; 1 for weights of zeros.

    Args:
        weight: ``float64[O, ...]``.
        scales: Kind of integers; weights are symmetric int8 in all of them.
        granularity: Weights that share a scale.
        method: :attr:`RangeMethod.MAX` or :attr:`RangeMethod.MSE`.
    """
    flat = weight.reshape(len(weight), -1)
    rows = flat if granularity is Granularity.CHANNEL else flat.reshape(1, -1)
    largest = np.abs(rows).max(axis=1, initial=0)
    found = _scales_of(largest, scales)
    if method is RangeMethod.MSE:
        candidates = [_scales_of(largest * 2.0 ** (-step / 8), scales) for step in range(9)]
        errors = [
            ((np.clip(np.rint(rows / s[:, None]), -127, 127) * s[:, None] - rows) ** 2).sum(axis=1)
            for s in candidates
        ]
        best = np.argmin(errors, axis=0)
        found = np.asarray(candidates)[best, np.arange(len(rows))]
    return np.ascontiguousarray(np.broadcast_to(found, (len(weight),)))


def _scales_of(largest: npt.NDArray[np.float64], scales: Scales) -> npt.NDArray[np.float64]:
    if scales is Scales.POWER_OF_TWO:
        return np.array([ldexp(1.0, -fitting_exponent(float(value))) for value in largest])
    positive = np.where(largest > 0, largest / WEIGHT_LEVELS, 1.0)
    return np.maximum(positive, _SMALLEST_SCALE).astype(np.float32).astype(np.float64)


def _float32(scale: float) -> float:
    return float(np.float32(max(scale, _SMALLEST_SCALE)))
