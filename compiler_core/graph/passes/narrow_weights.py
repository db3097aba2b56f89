"""Products by weights of a few bits (MatMulNBits), as language models of today are saved.

| symbol | meaning |
|---|---|
| ``N, K`` | columns and summed terms of the product |
| ``B`` | blocks of ``block_size`` terms that share a scale and a zero point |
| ``G`` | bytes of one block of weights |
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.passes.fused_node import Fused
from compiler_core.graph.passes.rewriter import FLOATS

_ORDER, _BIAS = 4, 5
_BITS = (2, 4, 8)


def by_narrow_weights(s: Fused) -> bool:
    """MatMulNBits as a MatMul by real weights; ``False`` where they are computed or regrouped."""
    weight = _real(s)
    if weight is None or s.given(_ORDER) or s.node.attributes.get("weight_prepacked"):
        return False
    result = s.add("MatMul", s.given(0), s.constant("weight", weight))
    if s.given(_BIAS):
        s.add("Add", result, s.given(_BIAS))
    return True


def _real(s: Fused) -> npt.NDArray[Any] | None:
    """``float[K, N]``: what the integers stand for."""
    attributes, packed, scale = s.node.attributes, s.held(1), s.held(2)
    bits, size = attributes.get("bits", 4), attributes.get("block_size", 0)
    columns, terms = attributes.get("N", 0), attributes.get("K", 0)
    if packed is None or scale is None or bits not in _BITS or min(size, columns, terms) < 1:
        return None
    blocks, length = -(-terms // size), size * bits // 8
    fits = packed.dtype == np.uint8 and packed.size == columns * blocks * length
    if not fits or scale.size != columns * blocks or scale.dtype.name not in FLOATS:
        return None
    integers = _unpacked(packed.reshape(columns, blocks, length), bits)
    zero = _zero(s, columns, blocks, bits)
    if zero is None:
        return None
    steps = scale.astype(np.float32).reshape(columns, blocks, 1)
    real = (integers.astype(np.float32) - zero[:, :, None]) * steps
    weight = real.reshape(columns, blocks * size)[:, :terms].T
    return np.ascontiguousarray(weight).astype(s.dtype)


def _zero(s: Fused, columns: int, blocks: int, bits: int) -> npt.NDArray[np.float32] | None:
    """``float32[N, B]``: the integer that stands for 0; half of all of them where none is given."""
    if not s.given(3):
        return np.full((columns, blocks), 1 << (bits - 1), np.float32)
    given = s.held(3)
    if given is None:
        return None
    if given.dtype.name in FLOATS:
        whole = given.size == columns * blocks
        return given.astype(np.float32).reshape(columns, blocks) if whole else None
    length = -(-blocks * bits // 8)
    if given.dtype != np.uint8 or given.size != columns * length:
        return None
    found = _unpacked(given.reshape(columns, length), bits)[:, :blocks]
    return found.astype(np.float32)


def _unpacked(packed: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Integers of ``bits`` bits, the lowest of each byte first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1)
