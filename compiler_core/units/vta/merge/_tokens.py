"""Token synthesis over arrays (Numba): what :mod:`~compiler_core.units.vta.lower.tokens` does with
lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit

_LOAD, _COMPUTE, _STORE = 0, 1, 2
_POP_PREV, _POP_NEXT, _PUSH_PREV, _PUSH_NEXT = 8, 16, 32, 64

Array = npt.NDArray[Any]


@njit(cache=True)
def _edge(number: int) -> tuple[int, int, int, int]:
    """Producer, consumer, flags of the push and the pop."""
    if number == 0:
        return _LOAD, _COMPUTE, _PUSH_NEXT, _POP_PREV
    if number == 1:
        return _COMPUTE, _LOAD, _PUSH_PREV, _POP_NEXT
    if number == 2:
        return _COMPUTE, _STORE, _PUSH_NEXT, _POP_PREV
    return _STORE, _COMPUTE, _PUSH_PREV, _POP_NEXT


@njit(cache=True)
def _tokens(module: Array, needs: Array, producer: int, consumer: int) -> tuple[Array, Array]:
    """Instructions of ``producer`` that push a token and those of ``consumer`` that pop it."""
    pushes, pops = np.zeros(len(module), np.int64), np.zeros(len(module), np.int64)
    side = 0 if producer < consumer else 1
    synchronized, count = -1, 0
    for number in range(len(module)):
        if module[number] == consumer and needs[number, side] > synchronized:
            synchronized = needs[number, side]
            pushes[count], pops[count] = synchronized, number
            count += 1
    return pushes[:count], pops[:count]


@njit(cache=True)
def _bound(module: Array, needs: Array, producer: int, consumer: int, most: int) -> None:
    """Lets ``producer`` wait where else more than ``most`` tokens could lie between the two."""
    pushes, pops = _tokens(module, needs, producer, consumer)
    if len(pops) <= most:
        return
    side = 0 if consumer < producer else 1
    # Both grow with the instructions, so one walk finds what searches would.
    synchronized, index, passed = -1, 0, 0
    for number in range(len(module)):
        if module[number] != producer:
            continue
        synchronized = max(synchronized, needs[number, side])
        if index == len(pushes) or pushes[index] != number:
            continue
        while passed < len(pops) and pops[passed] <= synchronized:
            passed += 1
        if index + 1 - passed > most:
            awaited = pops[index - most // 2]
            if awaited < number:  # else every order of the program holds them all
                needs[number, side] = synchronized = awaited
        index += 1


@njit(cache=True)
def token_flags(module: Array, needs: Array, most: int) -> Array:
    """Flags of a program that FINISH ends.

    Args:
        module: ``int64[n]``, of the instructions but FINISH.
        needs: ``int64[n, 2]``, the last instruction of the module before and after its own that
            each has to follow, or -1.
        most: Tokens between two modules that the machine counts.

    Returns:
        ``uint64[n + 1]``, bits of pops and pushes.
    """
    n = len(module)
    modules, wanted = np.full(n + 1, _COMPUTE), np.full((n + 1, 2), -1)
    modules[:n], wanted[:n] = module, needs
    for number in range(n):
        if module[number] == _LOAD:
            wanted[n, 0] = number
        elif module[number] == _STORE:
            wanted[n, 1] = number
    for edge in range(4):
        producer, consumer, _, _ = _edge(edge)
        _bound(modules, wanted, producer, consumer, most)
    flags = np.zeros(n + 1, np.uint64)
    for edge in range(4):
        producer, consumer, push, pop = _edge(edge)
        pushes, pops = _tokens(modules, wanted, producer, consumer)
        for token in range(len(pushes)):
            flags[pushes[token]] |= np.uint64(push)
            flags[pops[token]] |= np.uint64(pop)
    return flags
