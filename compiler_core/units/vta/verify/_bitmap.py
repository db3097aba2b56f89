"""Sets of SRAM elements as bitmaps (Numba).

The elements that a loop nest touches are a Minkowski sum: {micro-op index} + {i * inner} + {o *
outer}. Each arithmetic progression is added in log2(length) shift-and-or steps by doubling, so the
exact set costs the same few hundred word operations whether a GEMM runs ten or two million times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit

Array = npt.NDArray[Any]


@njit(cache=True)
def or_shifted(bits: Array, shift: int) -> None:
    """``bits |= bits << shift`` in place, ``uint64[words]``; what leaves the bitmap is lost."""
    words, low = shift >> 6, np.uint64(shift & 63)
    for w in range(len(bits) - 1, words - 1, -1):
        value = bits[w - words] << low
        if low and w > words:
            value |= bits[w - words - 1] >> (np.uint64(64) - low)
        bits[w] |= value


@njit(cache=True)
def add_progression(bits: Array, length: int, step: int) -> None:
    """``bits = {b + k * step : k < length}``, in place; every sum must lie inside the bitmap."""
    if step == 0:
        return
    have = 1
    while have < length:
        more = min(have, length - have)
        or_shifted(bits, more * step)
        have += more


@njit(cache=True)
def touched_elements(
    bits: Array, indices: Array, loops: tuple[int, int], factors: tuple[int, int]
) -> tuple[int, int]:
    """Fills a bitmap with the elements of one operand of a GEMM or ALU.

    Args:
        bits: ``uint64[words]``, overwritten.
        indices: ``int32[u]``, the operand's index in each micro-op.
        loops: Outer and inner iterations, at least 1.
        factors: Outer and inner factor.

    Returns:
        Lowest and highest element.
    """
    bits[:] = 0
    low, high = int(indices[0]), int(indices[0])
    for index in indices:
        bits[index >> 6] |= np.uint64(1) << np.uint64(index & 63)
        low = min(low, int(index))
        high = max(high, int(index))
    add_progression(bits, loops[1], factors[1])
    add_progression(bits, loops[0], factors[0])
    return low, high + (loops[0] - 1) * factors[0] + (loops[1] - 1) * factors[1]


@njit(cache=True)
def contains(bits: Array, element: int) -> bool:
    """Whether ``element`` is in the set."""
    return bool((bits[element >> 6] >> np.uint64(element & 63)) & np.uint64(1))
