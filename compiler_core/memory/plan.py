"""DRAM planning: buffers that are never live together share addresses.

Greedy by size: the largest buffer first, each at the lowest address where no buffer that is live at
the same time lies. Times are numbers of launches.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020
(greedy by size for offset calculation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

ALIGNMENT = 4096
"""Byte alignment of every array, and the first usable address: as on a task's own program, so that
bursts are cut at the same places."""

ADDRESS_LIMIT = 1 << 32
"""First byte that no address reaches."""


@dataclass(frozen=True)
class Lifetime:
    """A buffer and when it holds a value.

    Attributes:
        name: Unique.
        size: Bytes.
        first: Launch that writes it first; -1 where it is there before the first launch.
        last: Last launch that reads it (or writes it).
    """

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class DramPlan:
    """Offsets of buffers from the start of their region.

    Attributes:
        offsets: Multiple of :data:`ALIGNMENT` per buffer.
        size: Bytes of the region.
        size_without_reuse: Bytes if every buffer had its own place.
    """

    offsets: Mapping[str, int]
    size: int
    size_without_reuse: int


def align(size: int) -> int:
    """Rounds a byte count up to :data:`ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan_buffers(lifetimes: Iterable[Lifetime]) -> DramPlan:
    """Places buffers; the result depends on their names, sizes and times, not on their order."""
    ordered = sorted(lifetimes, key=lambda item: (-item.size, item.first, item.name))
    first = np.array([item.first for item in ordered], np.int64)
    last = np.array([item.last for item in ordered], np.int64)

    def meeting(position: int) -> npt.NDArray[np.bool_]:
        begun, open_ = first[:position] <= last[position], first[position] <= last[:position]
        both: npt.NDArray[np.bool_] = begun & open_
        return both

    return first_fit(ordered, meeting)


class Sized(Protocol):
    """What takes addresses."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...


def first_fit(
    ordered: Sequence[Sized], meeting: Callable[[int], npt.NDArray[np.bool_]]
) -> DramPlan:
    """Places buffers one after another, each at the lowest address that is free.

    Args:
        ordered: In this order; names are unique.
        meeting: Which of the buffers before a position may not share addresses with the one
            there, ``bool[position]``.
    """
    sizes = [align(item.size) for item in ordered]
    starts, ends = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    by_start = np.zeros(len(sizes), np.int64)  # positions of what is placed, by address
    for position, size in enumerate(sizes):
        placed = by_start[:position]
        others = placed[meeting(position)[placed]]
        start = _lowest_gap(starts[others], ends[others], size)
        starts[position], ends[position] = start, start + size
        at = int(np.searchsorted(starts[placed], start))
        by_start[at + 1 : position + 1] = placed[at:].copy()
        by_start[at] = position
    offsets = {item.name: int(start) for item, start in zip(ordered, starts, strict=True)}
    return DramPlan(offsets, int(ends.max(initial=0)), sum(sizes))


def _lowest_gap(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], size: int) -> int:
    """Lowest address with ``size`` free bytes beside ranges that are sorted by their starts."""
    reached = np.concatenate([[0], np.maximum.accumulate(ends)])
    fits = starts - reached[:-1] >= size
    return int(reached[np.argmax(fits)] if fits.any() else reached[-1])
