"""Token synthesis: from the instructions that each one has to follow to pushes and pops.

Along each of the four token queues the requirement of the consumers never decreases, so each
producer that raises it pushes once and its consumer pops once. The n-th pop then takes the n-th
push, the tokens balance, and since the order of the instructions is itself executable, the stream
cannot deadlock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from compiler_core.units.vta.machine.isa import COMMON_FIELDS, Opcode

NOTHING = -1
"""No instruction: a dependence on it holds at once."""

LOAD, COMPUTE, STORE = range(3)
"""The modules that run instructions."""

_POP_PREV, _POP_NEXT, _PUSH_PREV, _PUSH_NEXT = (
    1 << COMMON_FIELDS[name].low for name in ("pop_prev", "pop_next", "push_prev", "push_next")
)
# producer module, consumer module, the producer's push flag, the consumer's pop flag
_EDGES = (
    (LOAD, COMPUTE, _PUSH_NEXT, _POP_PREV),
    (COMPUTE, LOAD, _PUSH_PREV, _POP_NEXT),
    (COMPUTE, STORE, _PUSH_NEXT, _POP_PREV),
    (STORE, COMPUTE, _PUSH_PREV, _POP_NEXT),
)
TOKENS_MAX = 255
"""Tokens between two modules that the machine counts."""


class BareInstruction(NamedTuple):
    """An instruction without tokens.

    Attributes:
        word: The instruction word.
        module: Which module runs it.
        previous, following: Numbers of the last instructions of the module before and of the one
            after its own that it has to follow, or :data:`NOTHING`.
    """

    word: int
    module: int
    previous: int = NOTHING
    following: int = NOTHING


def finished(steps: Sequence[BareInstruction]) -> list[int]:
    """Ends a program with FINISH and adds its tokens.

    Args:
        steps: In an order in which they could run one after another.

    Returns:
        Instruction words.
    """
    last = [NOTHING, NOTHING, NOTHING]
    for number, step in enumerate(steps):
        last[step.module] = number
    module = [step.module for step in steps] + [COMPUTE]
    needs = [(step.previous, step.following) for step in steps] + [(last[LOAD], last[STORE])]
    words = [step.word for step in steps] + [int(Opcode.FINISH)]
    for producer, consumer, _, _ in _EDGES:
        _bound(module, needs, producer, consumer)
    for producer, consumer, push, pop in _EDGES:
        for needed, number in _tokens(module, needs, producer, consumer):
            words[needed] |= push
            words[number] |= pop
    return words


def _tokens(
    module: list[int], needs: list[tuple[int, int]], producer: int, consumer: int
) -> list[tuple[int, int]]:
    """Instructions of ``producer`` that push a token and those of ``consumer`` that pop it."""
    side = 0 if producer < consumer else 1
    synchronized = NOTHING
    found = []
    for number, runs_on in enumerate(module):
        if runs_on == consumer and (needed := needs[number][side]) > synchronized:
            found.append((needed, number))
            synchronized = needed
    return found


def _bound(module: list[int], needs: list[tuple[int, int]], producer: int, consumer: int) -> None:
    """Lets ``producer`` wait where else more tokens could lie between the two than the machine
    counts: for the instruction of ``consumer`` that pops the token of half as many before."""
    tokens = _tokens(module, needs, producer, consumer)
    if len(tokens) <= TOKENS_MAX:
        return
    side = 0 if consumer < producer else 1
    pops = [number for _, number in tokens]
    pushes = {number: index for index, (number, _) in enumerate(tokens)}
    synchronized = NOTHING
    for number, runs_on in enumerate(module):
        if runs_on != producer:
            continue
        synchronized = max(synchronized, needs[number][side])
        index = pushes.get(number)
        if index is None or index + 1 - bisect_right(pops, synchronized) <= TOKENS_MAX:
            continue
        awaited = pops[index - TOKENS_MAX // 2]
        if awaited < number:  # else every order of the program holds them all
            own = list(needs[number])
            own[side] = synchronized = awaited
            needs[number] = (own[0], own[1])
