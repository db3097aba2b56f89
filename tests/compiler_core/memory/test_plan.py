"""DRAM planning: buffers that are live together never overlap, and the reuse is worth it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.memory.plan import ALIGNMENT, Lifetime, align, plan_buffers

lifetimes = st.lists(
    st.tuples(st.integers(1, 9 * ALIGNMENT), st.integers(-1, 12), st.integers(0, 6)),
    max_size=14,
).map(
    lambda rows: [
        Lifetime(f"b{i}", size, first, first + length)
        for i, (size, first, length) in enumerate(rows)
    ]
)


@given(lifetimes)
def test_no_two_live_buffers_share_a_byte(buffers: list[Lifetime]) -> None:
    plan = plan_buffers(buffers)
    assert set(plan.offsets) == {item.name for item in buffers}
    # The plain reference: every page of memory has at most one owner at every time.
    for time in range(-1, 20):
        pages = np.zeros(plan.size // ALIGNMENT, int)
        for item in buffers:
            if item.first <= time <= item.last:
                start = plan.offsets[item.name]
                assert start % ALIGNMENT == 0
                pages[start // ALIGNMENT : align(start + item.size) // ALIGNMENT] += 1
        assert pages.max(initial=0) <= 1
        live = sum(align(item.size) for item in buffers if item.first <= time <= item.last)
        assert live <= plan.size
    assert plan.size <= plan.size_without_reuse == sum(align(item.size) for item in buffers)


@given(lifetimes, st.randoms())
def test_the_plan_does_not_depend_on_the_order(buffers: list[Lifetime], random: object) -> None:
    shuffled = list(buffers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_buffers(shuffled) == plan_buffers(buffers)


def _one_by_one(buffers: list[Lifetime]) -> dict[str, int]:
    """The plain reference of where each buffer goes: all pairs, one address after another."""
    placed: list[tuple[int, Lifetime]] = []
    for item in sorted(buffers, key=lambda item: (-item.size, item.first, item.name)):
        offset = 0
        for start, other in sorted(placed, key=lambda entry: entry[0]):
            if other.last < item.first or item.last < other.first:
                continue
            if start - offset >= align(item.size):
                break
            offset = max(offset, start + align(other.size))
        placed.append((offset, item))
    return {item.name: offset for offset, item in placed}


@given(lifetimes)
def test_addresses_are_those_of_the_plain_reference(buffers: list[Lifetime]) -> None:
    assert plan_buffers(buffers).offsets == _one_by_one(buffers)


def test_a_chain_needs_two_buffers_at_a_time() -> None:
    chain = [Lifetime(f"b{i}", ALIGNMENT, i - 1, i) for i in range(10)]
    plan = plan_buffers(chain)
    assert plan.size == 2 * ALIGNMENT
    assert plan.size_without_reuse == 10 * ALIGNMENT


def test_a_buffer_fills_the_gap_between_two_longer_lived_ones() -> None:
    buffers = [
        Lifetime("long", 4 * ALIGNMENT, 0, 9),
        Lifetime("first", 3 * ALIGNMENT, 0, 2),
        Lifetime("top", 2 * ALIGNMENT, 0, 9),
        Lifetime("second", 3 * ALIGNMENT, 3, 9),
    ]
    plan = plan_buffers(buffers)
    assert plan.offsets["first"] == plan.offsets["second"]
    assert plan.size == 9 * ALIGNMENT


def test_nothing_needs_nothing() -> None:
    assert plan_buffers([]).size == 0
