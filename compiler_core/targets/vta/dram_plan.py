"""DRAM planning: buffers that are never live together share addresses.

Greedy by size: the largest buffer first, each at the lowest address where no buffer that is live at
the same time lies. Times are numbers of launches.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020
(greedy by size for offset calculation).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    placed: list[tuple[int, Lifetime]] = []
    offsets: dict[str, int] = {}
    for item in ordered:
        offset = 0
        for start, other in sorted(
            ((start, other) for start, other in placed if other.meets(item)),
            key=lambda entry: entry[0],
        ):
            if start - offset >= align(item.size):
                break
            offset = max(offset, start + align(other.size))
        placed.append((offset, item))
        offsets[item.name] = offset
    end = max((offset + align(item.size) for offset, item in placed), default=0)
    return DramPlan(offsets, end, sum(align(item.size) for item in ordered))
