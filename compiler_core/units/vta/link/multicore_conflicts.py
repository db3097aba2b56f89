"""Whether programs that run at the same time leave each other's DRAM alone.

Nothing orders the instructions of two cores within a launch, nor those of launches of which neither
waits for the other, so a byte that one of them stores must be neither stored nor loaded by another.
The order within a core is the verifier's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InternalError
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import MemoryType, Opcode, decode

Ranges = npt.NDArray[np.int64]
"""``int64[k, 2]``: byte ranges ``[start, end)``, disjoint and ascending."""

_PAGE_BYTES = 4096


@dataclass(frozen=True)
class Conflict:
    """Two cores that meet in DRAM.

    Attributes:
        writer: The core that stores.
        other: The core that stores or loads the same bytes.
        stores: Whether ``other`` stores them, too.
        first_byte, last_byte: The first range that they have in common.
    """

    writer: int
    other: int
    stores: bool
    first_byte: int
    last_byte: int

    def __str__(self) -> str:
        does = "stores" if self.stores else "loads"
        return (
            f"core {self.writer} stores DRAM bytes {self.first_byte:#x} to {self.last_byte:#x}, "
            f"which core {self.other} {does} in the same launch"
        )


def find_conflicts(
    programs: Sequence[npt.NDArray[np.uint8]], geometry: VtaGeometry
) -> tuple[Conflict, ...]:
    """Every pair of cores that meet, once as stores and once as store and load.

    Args:
        programs: Instruction streams ``uint8[n, 16]``, one per core.
        geometry: Element widths of the machine.
    """
    accesses = [dram_ranges(program, geometry) for program in programs]
    found = []
    for writer, (writes, _) in enumerate(accesses):
        for other, (other_writes, other_reads) in enumerate(accesses):
            if other == writer:
                continue
            for stores, ranges in ((True, other_writes), (False, other_reads)):
                if stores and other < writer:
                    continue  # found from the other side
                common = first_common(writes, ranges)
                if common is not None:
                    found.append(Conflict(writer, other, stores, *common))
    return tuple(found)


def require_independent(programs: Sequence[npt.NDArray[np.uint8]], geometry: VtaGeometry) -> None:
    """Refuses programs that meet in DRAM.

    Raises:
        InternalError: With the first conflict.
    """
    found = find_conflicts(programs, geometry)
    if found:
        raise InternalError(f"programs of one launch are not independent: {found[0]}")


@dataclass(frozen=True)
class Meeting:
    """Two programs that no dependence orders and that meet in DRAM.

    Attributes:
        earlier, later: Positions of the programs.
        first_byte, last_byte: The first range that they have in common.
    """

    earlier: int
    later: int
    first_byte: int
    last_byte: int


def unordered_conflict(
    accesses: Sequence[tuple[Ranges, Ranges]], before: Sequence[int], steps: Sequence[int]
) -> Meeting | None:
    """The first meeting of two programs of which neither has to be over before the other begins.

    Pages say which pairs can meet, so that only those are compared byte by byte.

    Args:
        accesses: Of :func:`dram_ranges`, per program, in an order in which they can run.
        before: Steps that are over before each program begins, a bit per step.
        steps: Step of each program, ascending.
    """
    written = [_pages(stores) for stores, _ in accesses]
    ever = np.unique(np.concatenate([np.zeros(0, np.int64), *written]))
    stored: dict[int, int] = {}  # the steps so far that store into a page, a bit per step
    touched: dict[int, int] = {}  # that store into it or load from it
    program = {step: position for position, step in enumerate(steps)}
    for later, (stores, loads) in enumerate(accesses):
        own, read = written[later].tolist(), np.intersect1d(_pages(loads), ever).tolist()
        meets = 0
        for page in own:
            meets |= touched.get(page, 0)
        for page in read:
            meets |= stored.get(page, 0)
        meets &= ~before[later]
        while meets:
            step = (meets & -meets).bit_length() - 1
            meets &= meets - 1
            other_stores, other_loads = accesses[program[step]]
            common = first_common(other_stores, stores) or first_common(other_stores, loads)
            common = common or first_common(other_loads, stores)
            if common is not None:
                return Meeting(program[step], later, *common)
        bit = 1 << steps[later]
        for page in own:
            stored[page] = stored.get(page, 0) | bit
        for page in (*own, *read):
            touched[page] = touched.get(page, 0) | bit
    return None


def _pages(ranges: Ranges) -> npt.NDArray[np.int64]:
    """Numbers of the pages that hold a byte of the ranges, ascending."""
    first, last = ranges[:, 0] // _PAGE_BYTES, (ranges[:, 1] - 1) // _PAGE_BYTES
    counts = last - first + 1
    ends = np.cumsum(counts)
    return np.unique(np.repeat(first - (ends - counts), counts) + np.arange(counts.sum()))


def dram_ranges(program: npt.NDArray[np.uint8], geometry: VtaGeometry) -> tuple[Ranges, Ranges]:
    """Bytes that a program stores, and bytes that it loads."""
    decoded = decode(program)
    widths = geometry.element_bytes
    element = np.zeros(8, np.int64)
    for memory in MemoryType:
        element[memory] = getattr(widths, memory.name.lower())
    result = []
    for opcode in (Opcode.STORE, Opcode.LOAD):
        rows = decoded[decoded["opcode"] == opcode]
        rows = rows[rows["x_size"] > 0]
        counts = rows["y_size"].astype(np.int64)
        index = np.repeat(np.arange(len(rows)), counts)
        row = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
        scale = element[rows["memory_type"].astype(np.int64)][index]
        start = (rows["dram_base"][index] + row * rows["x_stride"][index]) * scale
        result.append(_merge(start, start + rows["x_size"][index] * scale))
    return result[0], result[1]


def _merge(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Ranges:
    """Ranges as disjoint ones in ascending order; those that touch become one."""
    if not len(start):
        return np.zeros((0, 2), np.int64)
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum.accumulate(end[order])
    heads = np.flatnonzero(np.concatenate([[True], start[1:] > end[:-1]]))
    tails = np.concatenate([heads[1:] - 1, [len(start) - 1]])
    return np.stack([start[heads], end[tails]], axis=1).astype(np.int64)


def first_common(one: Ranges, other: Ranges) -> tuple[int, int] | None:
    """First and last byte of the first range that both have."""
    if not len(one) or not len(other):
        return None
    place = np.searchsorted(other[:, 1], one[:, 0], side="right")
    inside = place < len(other)
    meets = np.zeros(len(one), bool)
    meets[inside] = other[place[inside], 0] < one[inside, 1]
    if not meets.any():
        return None
    first = int(np.argmax(meets))
    begin = max(int(one[first, 0]), int(other[place[first], 0]))
    end = min(int(one[first, 1]), int(other[place[first], 1]))
    return begin, end - 1
