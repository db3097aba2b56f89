"""Micro-op tables loaded on demand: the ring gives what a plain search of the buffer gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.units.vta.lower.emit import ProgramBuilder


def plain_places(
    uses: list[int], lengths: list[int], depth: int
) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """Place of the table of each use, and (place, table) of what is loaded before it."""
    resident: dict[int, tuple[int, int]] = {}
    head, places, loads = 0, [], {}
    for number, table in enumerate(uses):
        if table not in resident:
            size = lengths[table] + lengths[table] % 2
            if head + size > depth:
                head = 0
            begin, head = head, head + size
            resident = {t: r for t, r in resident.items() if r[1] <= begin or r[0] >= head}
            resident[table] = (begin, head)
            loads[number] = (begin, table)
        places.append(resident[table][0])
    return places, loads


class Recorder(ProgramBuilder):
    """Notes what would be loaded."""

    def _load_micro_ops(self, sram: int, position: int, count: int) -> Any:
        del count
        return sram, position


@given(st.data())
def test_ring_equals_plain_search(data: st.DataObject) -> None:
    depth = data.draw(st.sampled_from([8, 16, 64]))
    lengths = data.draw(st.lists(st.integers(1, depth), min_size=1, max_size=20))
    uses = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=80))
    builder = Recorder(0, depth, preload=False)
    builder._table_of = uses
    loads: dict[int, Any] = {}
    places = builder._place_on_demand(list(range(len(lengths))), lengths, loads)
    assert (places, loads) == plain_places(uses, lengths, depth)
