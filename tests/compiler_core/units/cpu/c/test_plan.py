"""Memory plans against brute force: packing, order, what shares memory."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.units.cpu.c.network import Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.operators.pointwise import Table
from compiler_core.units.cpu.c.operators.real import RealPair
from compiler_core.units.cpu.c.plan.memory import plan_memory
from compiler_core.units.cpu.c.plan.order import best_order
from compiler_core.units.cpu.c.plan.packing import ArenaBuffer, aligned, first_fit, pack
from tests.compiler_core.units.cpu.c.cases import prepared


@st.composite
def buffers(draw: st.DrawFn, most: int = 12) -> list[ArenaBuffer]:
    found = []
    for number in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, 8))
        last = first + draw(st.integers(0, 4))
        found.append(ArenaBuffer(f"b{number}", draw(st.integers(1, 200)), first, last))
    return found


@settings(max_examples=60)
@given(buffers())
def test_nothing_overlaps(items: list[ArenaBuffer]) -> None:
    packing = pack(items)
    assert packing.bound <= packing.size
    for one in items:
        start, end = packing.offsets[one.name], packing.offsets[one.name] + one.size
        assert start % 16 == 0
        assert start >= 0
        assert end <= packing.size
        for other in items:
            at = packing.offsets[other.name]
            if other.name != one.name and one.meets(other):
                assert end <= at or at + other.size <= start
    assert packing == pack(items[::-1])


@settings(max_examples=25)
@given(buffers(most=6))
def test_small_ones_are_best(items: list[ArenaBuffer]) -> None:
    """Some order of first fit is optimal: of all orders the best is the optimum."""
    packing = pack(items)
    best = min(
        max((at + aligned(item.size) for item, at in _places(order)), default=0)
        for order in permutations(items)
    )
    assert packing.size == best
    assert packing.bound <= best


def _places(order: tuple[ArenaBuffer, ...]) -> list[tuple[ArenaBuffer, int]]:
    found = first_fit(order)
    return [(item, found[item.name]) for item in order]


def test_the_solver_beats_greedy_orders() -> None:
    """Two buffers at the ends leave a gap that only one arrangement fills."""
    items = [
        ArenaBuffer("a", 16 * 3, 0, 1),
        ArenaBuffer("b", 16 * 2, 1, 2),
        ArenaBuffer("c", 16 * 3, 2, 3),
        ArenaBuffer("d", 16 * 2, 0, 3),
    ]
    packing = pack(items)
    assert packing.size == packing.bound == 16 * 7
    assert packing.gap == 0


def network(edges: list[tuple[int, ...]], sizes: list[int]) -> Network:
    """A float network: operator i reads what its edges name; -1 is the input."""
    values = {"v": Value("v", "v", (1,), Type())}
    operators: list[Operator] = []
    for number, (reads, size) in enumerate(zip(edges, sizes, strict=True)):
        name = f"v{number}"
        values[name] = Value(name, name, (size,), Type())
        inputs = tuple("v" if i < 0 else f"v{i}" for i in reads)
        operators.append(RealPair(name, inputs, name, "add", -np.inf, np.inf))
    last = f"v{len(edges) - 1}"
    axes = {"v": (0,), last: (0,)}
    return Network("n", values, ("v",), (last,), ("v", last), axes, tuple(operators))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    count = draw(st.integers(2, 6))
    edges = [
        tuple(draw(st.lists(st.integers(-1, i - 1), min_size=1, max_size=2, unique=True)))
        for i in range(count)
    ]
    return network(edges, draw(st.lists(st.integers(1, 90), min_size=count, max_size=count)))


def live_bytes(net: Network, order: tuple[Operator, ...]) -> int:
    """The most bytes of written and still needed values, the last output being the caller's."""
    most = 0
    for step in range(len(order)):
        written = {item.output for item in order[: step + 1]}
        needed = {order[step].output}
        needed |= {name for item in order[step:] for name in item.inputs}
        names = (written & needed) - set(net.outputs)
        most = max(most, sum(aligned(net.values[name].size_bytes) for name in names))
    return most


@settings(max_examples=60)
@given(networks())
def test_order_is_best(net: Network) -> None:
    found = best_order(net)
    assert sorted(item.output for item in found) == sorted(o.output for o in net.operators)
    best = None
    for order in permutations(net.operators):
        ready = {"v"}
        legal = True
        for item in order:
            legal = legal and set(item.inputs) <= ready
            ready.add(item.output)
        if legal:
            size = live_bytes(net, order)
            best = size if best is None else min(best, size)
    assert live_bytes(net, found) == best


def test_order_changes_where_it_helps() -> None:
    """Wide parts that shrink again run one after another, not side by side."""
    net = network([(-1,), (-1,), (0,), (1,), (2, 3)], [4000, 4000, 4, 4, 4])
    order = [item.output for item in plan_memory(net).order]
    assert order.index("v2") < order.index("v1") or order.index("v3") < order.index("v0")
    assert plan_memory(net).arena_bytes < 2 * 16000


def test_views_and_tables_need_no_memory() -> None:
    int8 = Type("int8", 1.0, 0)
    values = {name: Value(name, name, (64,), int8) for name in ("x", "a", "b", "c", "y")}
    table = np.zeros(256, np.int8)
    operators = (
        Table("1", ("x",), "a", table),
        View("2", ("a",), "b"),
        Table("3", ("b",), "c", table),
        Table("4", ("c",), "y", table),
    )
    net = Network("n", values, ("x",), ("y",), ("x", "y"), {"x": (0,), "y": (0,)}, operators)
    plan = plan_memory(net)
    assert len({plan.home[name] for name in ("a", "b", "c", "y")}) == 1
    assert plan.packing.size == 0  # all of it is the caller's output


@pytest.mark.parametrize("name", ["attention", "branches", "residual", "concat"])
def test_models_are_packed_to_the_bound(name: str) -> None:
    _, bundle = prepared(name, "int8")
    assert bundle.plan.packing.gap == 0
