"""Token synthesis over arrays (Numba): what :mod:`~compiler_core.units.vta.lower.tokens` does with
lists, for programs that no queue of tokens can overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit

_LOAD, _COMPUTE, _STORE = 0, 1, 2
_POP_PREV, _POP_NEXT, _PUSH_PREV, _PUSH_NEXT = 8, 16, 32, 64

Array = npt.NDArray[Any]


@njit(cache=True)
def token_flags(module: Array, needs: Array) -> tuple[Array, int]:
    """Flags of a program that FINISH ends.

    Args:
        module: ``int64[n]``, of the instructions but FINISH.
        needs: ``int64[n, 2]``, the last instruction of the module before and after its own that
            each has to follow, or -1.

    Returns:
        flags: ``uint64[n + 1]``, bits of pops and pushes.
        most: Tokens of the fullest edge.
    """
    n = len(module)
    flags = np.zeros(n + 1, np.uint64)
    last = np.full(3, -1)
    for number in range(n):
        last[module[number]] = number
    most = 0
    for edge in range(4):
        if edge == 0:
            producer, consumer, push, pop = _LOAD, _COMPUTE, _PUSH_NEXT, _POP_PREV
        elif edge == 1:
            producer, consumer, push, pop = _COMPUTE, _LOAD, _PUSH_PREV, _POP_NEXT
        elif edge == 2:
            producer, consumer, push, pop = _COMPUTE, _STORE, _PUSH_NEXT, _POP_PREV
        else:
            producer, consumer, push, pop = _STORE, _COMPUTE, _PUSH_PREV, _POP_NEXT
        side = 0 if producer < consumer else 1
        synchronized, count = -1, 0
        for number in range(n + 1):
            if number == n:
                if consumer != _COMPUTE:
                    break
                needed = last[producer]
            elif module[number] == consumer:
                needed = needs[number, side]
            else:
                continue
            if needed > synchronized:
                flags[needed] |= np.uint64(push)
                flags[number] |= np.uint64(pop)
                synchronized = needed
                count += 1
        most = max(most, count)
    return flags, most
