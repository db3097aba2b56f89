"""DRAM planning: buffers that are never live together share addresses.

Greedy by size: the largest buffer first, each at the lowest address where no buffer that is live at
the same time lies. Times are numbers of launches.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020
(greedy by size for offset calculation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

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

    def meets(self, other: Lifetime) -> bool:
        """Whether both are live in some launch."""
        return self.first <= other.last and other.first <= self.last


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
    return first_fit(ordered, Lifetime.meets)


class Sized(Protocol):
    """What takes addresses."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...


_B = TypeVar("_B", bound=Sized)


def first_fit(ordered: Sequence[_B], meet: Callable[[_B, _B], bool]) -> DramPlan:
    """Places buffers one after another, each at the lowest address that is free.

    Args:
        ordered: In this order; names are unique.
        meet: Whether two may not share addresses.
    """
    placed: list[tuple[int, _B]] = []
    for item in ordered:
        offset = 0
        meeting = [(start, other) for start, other in placed if meet(other, item)]
        for start, other in sorted(meeting, key=lambda entry: entry[0]):
            if start - offset >= align(item.size):
                break
            offset = max(offset, start + align(other.size))
        placed.append((offset, item))
    end = max((offset + align(item.size) for offset, item in placed), default=0)
    offsets = {item.name: offset for offset, item in placed}
    return DramPlan(offsets, end, sum(align(item.size) for item in ordered))
