"""Micro-op tables loaded on demand: the ring gives what a plain search of the buffer gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.units.vta.lower.draft import Draft, encoded
from compiler_core.units.vta.lower.loops import MicroOpTable
from compiler_core.units.vta.machine.isa import Opcode, decode


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


def on_demand(
    uses: list[int], lengths: list[int], depth: int
) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """The same of a draft whose micro-op words name their table."""
    tables = tuple(
        (MicroOpTable(tuple(range(length))), 64 * number) for number, length in enumerate(lengths)
    )
    count = len(uses)
    draft = Draft(
        (int(Opcode.GEMM),) * count,
        (1,) * count,
        ((-1, -1),) * count,
        tuple(uses),
        tables,
        (),
        False,
    )
    placed = draft.placed(0, depth)
    rows = decode(encoded([step.word for step in placed.steps]))
    places: list[int] = []
    loads: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row["opcode"] == Opcode.LOAD:
            first = int(placed.micro_ops[row["dram_base"]])
            loads[len(places)] = int(row["sram_base"]), first // 64
        else:
            places.append(int(row["uop_begin"]))
    return places, loads


@given(st.data())
def test_ring_equals_plain_search(data: st.DataObject) -> None:
    depth = data.draw(st.sampled_from([8, 16, 64]))
    lengths = data.draw(st.lists(st.integers(1, depth), min_size=1, max_size=20))
    uses = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=80))
    assert on_demand(uses, lengths, depth) == plain_places(uses, lengths, depth)
