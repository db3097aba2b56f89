"""Memory of what runs side by side: buffers that may live at the same time never share a byte."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.memory.concurrent import Buffer, ancestors, plan_concurrent_buffers
from compiler_core.memory.plan import align

Case = tuple[list[list[int]], list[Buffer]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 12))
    after = [
        sorted(draw(st.sets(st.integers(0, step - 1), max_size=3))) if step else []
        for step in range(count)
    ]
    buffers = [
        Buffer(
            f"b{number}",
            draw(st.integers(1, 20_000)),
            frozenset(draw(st.sets(st.integers(0, count - 1), max_size=4))),
        )
        for number in range(draw(st.integers(1, 10)))
    ]
    return after, buffers


def reaches(after: list[list[int]], step: int, target: int) -> bool:
    """Whether ``target`` has to be over before ``step``, by walking."""
    return any(item == target or reaches(after, item, target) for item in after[step])


@given(cases())
def test_shared_addresses_need_an_order(case: Case) -> None:
    after, buffers = case
    plan = plan_concurrent_buffers(buffers, ancestors(after))
    for one, other in combinations(buffers, 2):
        low, high = plan.offsets[one.name], plan.offsets[other.name]
        if low + one.size <= high or high + other.size <= low:
            continue
        first = all(reaches(after, b, a) for a in one.steps for b in other.steps)
        second = all(reaches(after, a, b) for a in one.steps for b in other.steps)
        assert first or second
    assert plan.size <= plan.size_without_reuse
    assert all(offset % 4096 == 0 for offset in plan.offsets.values())


def _one_by_one(after: list[list[int]], buffers: list[Buffer]) -> dict[str, int]:
    """The plain reference of where each buffer goes: all pairs, one address after another."""
    placed: list[tuple[int, Buffer]] = []
    for item in sorted(buffers, key=lambda item: (-item.size, item.name)):
        offset = 0
        for start, other in sorted(placed, key=lambda entry: entry[0]):
            first = all(reaches(after, b, a) for a in item.steps for b in other.steps)
            second = all(reaches(after, b, a) for a in other.steps for b in item.steps)
            if first or second:
                continue
            if start - offset >= align(item.size):
                break
            offset = max(offset, start + align(other.size))
        placed.append((offset, item))
    return {item.name: offset for offset, item in placed}


@given(cases())
def test_addresses_are_those_of_the_plain_reference(case: Case) -> None:
    after, buffers = case
    plan = plan_concurrent_buffers(buffers, ancestors(after))
    assert plan.offsets == _one_by_one(after, buffers)


def test_a_chain_reuses_and_branches_do_not() -> None:
    sizes = {"a": 4096, "b": 4096, "c": 4096}
    chain = [
        Buffer(name, size, frozenset({at, at + 1})) for at, (name, size) in enumerate(sizes.items())
    ]
    plan = plan_concurrent_buffers(chain, ancestors([[], [0], [1], [2]]))
    assert plan.offsets["a"] == plan.offsets["c"] != plan.offsets["b"]
    side_by_side = [Buffer("a", 4096, frozenset({0})), Buffer("b", 4096, frozenset({1}))]
    assert plan_concurrent_buffers(side_by_side, ancestors([[], []])).size == 8192
    assert plan_concurrent_buffers(side_by_side, ancestors([[], [0]])).size == 4096
