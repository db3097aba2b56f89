"""Offsets of buffers in an arena: as small as can be proved, or with the gap that is left.

| symbol | meaning |
|---|---|
| step | position of an operator in the order in which they run |
| bound | the most bytes that are live in one step: no arena is smaller |

First many greedy orders are tried; where none reaches the bound, an integer program (HiGHS) looks
for a better one and proves what it can within a fixed number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler_core.integer_programs import solve

ALIGNMENT = 16
"""Bytes: offsets are multiples of it, for vector loads and for every element type."""

_MOST_PAIRS = 400
"""Pairs of buffers that an integer program takes."""
_NODES = 2000
_ORDERS = 64
"""Greedy orders that are tried."""


@dataclass(frozen=True)
class ArenaBuffer:
    """A buffer and when it holds a value.

    Attributes:
        name: Unique.
        size: Bytes.
        first, last: Steps that write it first and use it last.
    """

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: ArenaBuffer) -> bool:
        """Whether both are live in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Packing:
    """Offsets of buffers.

    Attributes:
        offsets: Bytes from the start of the arena, by name.
        size: Bytes of the arena.
        bound: Bytes that no arena is below.
    """

    offsets: Mapping[str, int]
    size: int
    bound: int

    @property
    def gap(self) -> float:
        """What a better packing could save at most, as a share of the size; 0 is proved best."""
        return (self.size - self.bound) / self.size if self.size else 0.0


def aligned(size: int) -> int:
    """A number of bytes rounded up."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def live_bound(buffers: Sequence[ArenaBuffer]) -> int:
    """The most bytes that are live in one step."""
    changes: dict[int, int] = {}
    for item in buffers:
        changes[item.first] = changes.get(item.first, 0) + aligned(item.size)
        changes[item.last + 1] = changes.get(item.last + 1, 0) - aligned(item.size)
    total = most = 0
    for step in sorted(changes):
        total += changes[step]
        most = max(most, total)
    return most


def pack(buffers: Sequence[ArenaBuffer]) -> Packing:
    """Places buffers so that none that are live in the same step overlap.

    Args:
        buffers: With unique names; the result does not depend on their order.
    """
    items = sorted(buffers, key=lambda item: item.name)
    bound = live_bound(items)
    best: dict[str, int] = {}
    size = -1
    for order in _orders(items):
        found = first_fit(order)
        end = max((found[item.name] + aligned(item.size) for item in order), default=0)
        if size < 0 or end < size:
            best, size = found, end
        if size <= bound:
            break
    if size > bound:
        better, proved = _solved(items, size, bound)
        if better is not None:
            best = better
            size = max(best[item.name] + aligned(item.size) for item in items)
        bound = max(bound, proved)
    return Packing(best, max(size, 0), bound)


def first_fit(ordered: Sequence[ArenaBuffer]) -> dict[str, int]:
    """Each buffer at the lowest offset that is free, in the order given."""
    placed: list[tuple[int, ArenaBuffer]] = []
    for item in ordered:
        offset = 0
        for start, other in sorted(
            ((start, other) for start, other in placed if other.meets(item)),
            key=lambda entry: entry[0],
        ):
            if start - offset >= aligned(item.size):
                break
            offset = max(offset, start + aligned(other.size))
        placed.append((offset, item))
    return {item.name: offset for offset, item in placed}


def _orders(items: Sequence[ArenaBuffer]) -> list[list[ArenaBuffer]]:
    keys: list[Callable[[ArenaBuffer], tuple[int, ...]]] = [
        lambda item: (-item.size, item.first),
        lambda item: (item.first - item.last, -item.size),
        lambda item: (item.first, -item.size),
        lambda item: (-(item.last - item.first + 1) * item.size,),
        lambda item: (-item.last, -item.size),
    ]
    found = [sorted(items, key=key) for key in keys]
    generator = np.random.default_rng(0)
    for _ in range(_ORDERS):  # the largest first, with noise: known to find most of what is left
        noise = generator.uniform(0.6, 1.0, len(items))
        weights = [-item.size * share for item, share in zip(items, noise, strict=True)]
        found.append([items[i] for i in np.argsort(weights, kind="stable")])
    return found


def _solved(
    items: Sequence[ArenaBuffer], size: int, bound: int
) -> tuple[dict[str, int] | None, int]:
    """Offsets of an arena below ``size`` where the solver finds one, and the bound it proves."""
    pairs = [
        (i, j)
        for i in range(len(items))
        for j in range(i + 1, len(items))
        if items[i].meets(items[j])
    ]
    if len(pairs) > _MOST_PAIRS:
        return None, bound
    from scipy.optimize import Bounds, LinearConstraint

    count, most = len(items), size // ALIGNMENT
    heights = [aligned(item.size) // ALIGNMENT for item in items]
    total = count + 1 + len(pairs)
    rows = np.zeros((count + 2 * len(pairs), total))
    upper = np.zeros(len(rows))
    for i in range(count):  # every buffer ends within the arena
        rows[i, i], rows[i, count] = 1, -1
        upper[i] = -heights[i]
    for k, (i, j) in enumerate(pairs):  # one of two lies below the other
        row, choice = count + 2 * k, count + 1 + k
        rows[row, i], rows[row, j], rows[row, choice] = 1, -1, most
        upper[row] = most - heights[i]
        rows[row + 1, j], rows[row + 1, i], rows[row + 1, choice] = 1, -1, -most
        upper[row + 1] = -heights[j]
    cost = np.zeros(total)
    cost[count] = 1
    low, high = np.zeros(total), np.full(total, float(most))
    low[count] = bound // ALIGNMENT
    high[count + 1 :] = 1
    result = solve(
        cost,
        constraints=LinearConstraint(rows, -np.inf, upper),
        bounds=Bounds(low, high),
        integrality=np.ones(total),
        options={"node_limit": _NODES},
    )
    proved = bound
    dual = getattr(result, "mip_dual_bound", None)
    if dual is not None and np.isfinite(dual):
        proved = max(bound, int(np.ceil(dual - 1e-6)) * ALIGNMENT)
    if result.x is None:
        return None, min(proved, size)
    offsets = {
        item.name: round(float(value)) * ALIGNMENT
        for item, value in zip(items, result.x[:count], strict=True)
    }
    if not _valid(items, offsets):
        return None, min(proved, size)
    return offsets, min(proved, size)


def _valid(items: Sequence[ArenaBuffer], offsets: Mapping[str, int]) -> bool:
    """Whether no two that are live in the same step overlap: a solver's word is checked."""
    return not any(
        one.meets(other)
        and offsets[one.name] < offsets[other.name] + aligned(other.size)
        and offsets[other.name] < offsets[one.name] + aligned(one.size)
        for i, one in enumerate(items)
        for other in items[:i]
    )
