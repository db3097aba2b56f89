"""bfloat16 and the order in which products are summed: the numbers of the unit, bit by bit.

A bfloat16 is the upper half of a float32, held as ``uint16``. Every operation is one float32
operation of IEEE 754, rounded to nearest even, without fused multiply-add; subnormals and signed
zeros are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

NAN_BITS = 0x7FC0
"""The one NaN that rounding gives."""


def to_float(bits: npt.NDArray[Any]) -> Floats:
    """bfloat16 as float32, exactly."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_bits(values: npt.NDArray[Any]) -> Bits:
    """float32 rounded to bfloat16: to nearest, ties to even; overflow gives infinity."""
    floats = np.ascontiguousarray(values, np.float32)
    words = floats.view(np.uint32)
    odd = (words >> np.uint32(16)) & np.uint32(1)
    rounded = ((words + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
    return np.asarray(np.where(np.isnan(floats), np.uint16(NAN_BITS), rounded), np.uint16)


def dots(one: Floats, other: Floats) -> Floats:
    """Dot products along the last axis of 16 by the tree of the unit: neighbours first."""
    with np.errstate(all="ignore"):
        sums = one * other
        while sums.shape[-1] > 1:
            sums = sums[..., 0::2] + sums[..., 1::2]
    return np.asarray(sums[..., 0], np.float32)


def accumulated(start: Floats, addends: Floats) -> Floats:
    """``start`` plus addends one by one along the last axis.

    Args:
        start: ``float32[…]``.
        addends: ``float32[…, n]``.
    """
    with np.errstate(all="ignore"):
        terms = np.concatenate([start[..., None], addends], axis=-1)
        return np.asarray(np.add.accumulate(terms, axis=-1, dtype=np.float32)[..., -1])


def added(one: Bits, other: Bits) -> Bits:
    """Sums of bfloat16, rounded once to float32 and once to bfloat16."""
    with np.errstate(all="ignore"):
        return to_bits(to_float(one) + to_float(other))


def multiplied(one: Bits, other: Bits) -> Bits:
    """Products of bfloat16, rounded once to float32 and once to bfloat16."""
    with np.errstate(all="ignore"):
        return to_bits(to_float(one) * to_float(other))
