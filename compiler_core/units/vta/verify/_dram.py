"""Follows DRAM bytes through a program (Numba), on the pages that a STORE and a LOAD share.

Only the store module writes DRAM. As on chip, the last access per place and module decides; a place
is a granule that every transfer starts and ends on, so the check is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.machine.isa import Opcode
from compiler_core.units.vta.verify._micro_ops import (
    DRAM_BASE,
    MEMORY_TYPE,
    OPCODE,
    UOP,
    X_SIZE,
    X_STRIDE,
    Y_SIZE,
)
from compiler_core.units.vta.verify._sram import EVENT_FIELDS, add_event

PAGE_BYTES = 4096
STORED, LOADED = 1, 2

RACE, STORED_MICRO_OPS = range(2)
"""Kinds of events; an event is (instruction, other position, other module, first byte, bytes)."""
KINDS = 2

STORE = int(Opcode.STORE)
WRITER = 2

Array = npt.NDArray[Any]


@njit(cache=True)
def shared_pages(rows: Array, members: Array, type_bytes: Array, pages: int) -> tuple[Array, int]:
    """Numbers the pages that at least one STORE and one LOAD touch.

    Args:
        rows: ``int64[n, fields]``.
        members: ``int64[k]``, transfers that may meet another one.
        type_bytes: ``int64[8]``, element bytes per memory type.
        pages: Pages of DRAM.

    Returns:
        slot: ``int32[pages]``, number of a shared page, or -1.
        count: Shared pages.
    """
    touched = np.zeros(pages, np.uint8)
    for i in members:
        row = rows[i]
        scale = type_bytes[row[MEMORY_TYPE]]
        mark = STORED if row[OPCODE] == STORE else LOADED
        for y in range(row[Y_SIZE]):
            start = (row[DRAM_BASE] + y * row[X_STRIDE]) * scale
            end = start + row[X_SIZE] * scale
            for page in range(start // PAGE_BYTES, (end - 1) // PAGE_BYTES + 1):
                touched[page] |= mark
    slot = np.full(pages, -1, np.int32)
    count = 0
    for page in range(pages):
        if touched[page] == STORED | LOADED:
            slot[page] = count
            count += 1
    return slot, count


@njit(cache=True)
def follow_bytes(
    rows: Array,
    members: Array,
    type_bytes: Array,
    granule: int,
    slots: tuple[Array, int],
    tokens: tuple[Array, Array, Array],
    max_events: int,
) -> tuple[Array, Array]:
    """Finds unordered STORE/LOAD pairs and micro-ops loaded from stored bytes.

    Args:
        rows: ``int64[n, fields]``, decoded instructions whose ranges are all legal.
        members: ``int64[k]``, transfers that may meet another one, in program order.
        type_bytes: ``int64[8]``, element bytes per memory type.
        granule: Bytes that divide every element and the page.
        slots: What :func:`shared_pages` returns.
        tokens: Module ``int8[n]``, position ``int32[n]``, clocks ``int32[n, 3]``.
        max_events: Events kept of each kind.

    Returns:
        events: ``int64[KINDS, max_events, EVENT_FIELDS]``.
        counts: ``int64[KINDS]``, events kept of each kind.
    """
    slot, count = slots
    module, position, clocks = tokens
    events = np.zeros((KINDS, max_events, EVENT_FIELDS), np.int64)
    counts = np.zeros(KINDS, np.int64)
    per_page = PAGE_BYTES // granule
    # Last access per module: loads and micro-op or accumulator loads read, stores write.
    last = np.zeros((3, count * per_page), np.int32)
    for i in members:
        row, mine = rows[i], module[i]
        scale = type_bytes[row[MEMORY_TYPE]]
        first, conflicts, other, other_module = -1, 0, 0, 0
        stored_first, stored_count, stored_by = -1, 0, 0
        for y in range(row[Y_SIZE]):
            start = (row[DRAM_BASE] + y * row[X_STRIDE]) * scale // granule
            end = start + row[X_SIZE] * scale // granule
            g = start - 1
            while g + 1 < end:
                g += 1
                page = slot[g // per_page]
                if page < 0:
                    g += per_page - 1 - g % per_page
                    continue
                place = page * per_page + g % per_page
                if last[mine, place] == position[i]:
                    continue  # rows of one transfer overlap
                for k in range(3):
                    # Reads do not conflict with reads; a module is in order with itself.
                    if k == mine or (mine != WRITER and k != WRITER):
                        continue
                    if last[k, place] > clocks[i, k]:
                        if conflicts == 0:
                            first, other, other_module = g * granule, last[k, place], k
                        conflicts += 1
                        break
                if mine != WRITER and row[MEMORY_TYPE] == UOP and last[WRITER, place] > 0:
                    if stored_count == 0:
                        stored_first, stored_by = g * granule, last[WRITER, place]
                    stored_count += 1
                last[mine, place] = position[i]
        if conflicts:
            event = (i, other, other_module, first, conflicts * granule)
            add_event(events, counts, RACE, event)
        if stored_count:
            event = (i, stored_by, WRITER, stored_first, stored_count * granule)
            add_event(events, counts, STORED_MICRO_OPS, event)
    return events, counts
