"""Spaces in which units share operators: which ways there are, their costs, the first guesses."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.compile.sources import load_model
from compiler_core.graph.ir import Graph
from compiler_core.partition.best import on_first_units, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.plan import Plan
from compiler_core.partition.resolve import resolve_plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.rounding_damage import channel_damage
from compiler_core.system.jobs import JobKind
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import shares_of
from nest_tune.study.proposals.outer_space import PlacementPart
from search_spaces.shared import SharedWay, shared_ways
from search_spaces.shared_guesses import Guesses
from tests import synthetic_models
from tests.cut_networks import CutNetwork

TARGET = load_target("vta-duo")
UNITS = target_arithmetic(TARGET)


def model_of(content: bytes, folder: Path) -> Graph:
    (folder / "m.onnx").write_bytes(content)
    return load_model(folder / "m.onnx").graph


def chain(folder: Path) -> Graph:
    b = synthetic_models.Builder(2)
    b.conv("x", "a", (96, 16, 1, 1))
    b.conv("a", "d", (96, 1, 3, 3), group=96)
    b.conv("d", "c", (128, 96, 1, 1))
    b.conv("c", "y", (10, 128, 1, 1))
    return model_of(b.model({"x": ["n", 16, 8, 8]}, {"y": ["n", 10, 8, 8]}), folder)


def timed(graph: Graph, units: dict[str, str]) -> tuple[Evaluator, dict[str, str]]:
    """Costs of the graph in which what is shared is cut, and the place of each part."""
    shared = without_shares(Plan({**units}), graph, UNITS)
    return prepare(shared.graph, TARGET, packaged=True), dict(shared.plan.units)


def test_ways_are_what_blocks_allow_with_and_without_what_follows(tmp_path: Path) -> None:
    graph = chain(tmp_path)
    evaluator = prepare(graph, TARGET, packaged=True)
    ways = shared_ways(graph, TARGET, evaluator)
    names = {evaluator.groups.groups[g].name: [w.name for w in own] for g, own in ways.items()}
    both = ["vta/32+int4/64", "vta/64+int4/32"]
    assert names == {
        "n_a": [name for place in both for name in (place, place + " followed")],
        "n_c": ["vta/32+int4/96", "vta/64+int4/64", "vta/96+int4/32"],
    }
    assert shared_ways(graph, load_target("vta-x2"), evaluator) == {}


@settings(max_examples=12, deadline=None)
@given(
    inputs=st.sampled_from([8, 32, 64, 128]),
    outputs=st.sampled_from([48, 64, 96]),
    size=st.integers(4, 12),
    kernel=st.sampled_from([1, 3]),
    followed=st.booleans(),
)
def test_ways_cost_what_their_programs_take_side_by_side_in_the_plan(
    inputs: int, outputs: int, size: int, kernel: int, *, followed: bool
) -> None:
    b = synthetic_models.Builder(2)
    b.conv("x", "a", (outputs, inputs, kernel, kernel))
    if followed:
        b.conv("a", "d", (outputs, 1, 3, 3), group=outputs)
    last = "d" if followed else "a"
    with TemporaryDirectory() as folder:
        content = b.model({"x": ["n", inputs, size, size]}, {last: ["n", outputs, size, size]})
        graph = model_of(content, Path(folder))
    evaluator = prepare(graph, TARGET, packaged=True)
    (ways,) = shared_ways(graph, TARGET, evaluator).values()
    for way in ways:
        if (len(way.nodes) > 1) != followed:
            continue
        costs, places = timed(graph, dict.fromkeys(way.nodes, way.place))
        place = [
            costs.costs.places.numbers[places.get(group.name, "vta")]
            for group in costs.groups.groups
        ]
        found = costs.evaluate(tuple(place))
        programs = [at for at, job in enumerate(found.jobs) if job.kind is JobKind.PROGRAM]
        starts = [found.timeline.start_ps[at] for at in programs]
        ends = [found.timeline.end_ps[at] for at in programs]
        assert way.run_ps == max(ends) - min(starts)


def test_fewer_channels_in_four_bits_do_less_damage(tmp_path: Path) -> None:
    graph = chain(tmp_path)
    evaluator = prepare(graph, TARGET, packaged=True)
    ways = shared_ways(graph, TARGET, evaluator)[evaluator.groups.group_of["n_c"]]
    damage = [way.damage for way in ways]
    assert damage == sorted(damage, reverse=True)
    # The order is chosen: less than the share of the channels.
    assert damage[-1] < damage[0] * 32 / 96


def test_damage_counts_dense_layers_over_rows_and_over_sequences(tmp_path: Path) -> None:
    b = synthetic_models.Builder(2)
    for name, source, sizes in (("a", "x", (24, 96)), ("y", "a", (96, 40))):
        b.constant(f"w{name}", b.random.normal(size=sizes).astype("f4"))
        b.add("MatMul", [source, f"w{name}"], name)
    for rows in ([], [6]):
        content = b.model({"x": ["n", *rows, 24]}, {"y": ["n", *rows, 40]})
        graph = model_of(content, tmp_path)
        evaluator = prepare(graph, TARGET, packaged=True)
        guesses = Guesses(evaluator, {}, joins_layers=False)
        lost = (channel_damage(np.asarray(graph.constants[f"w{n}"]).T, 7) for n in "ay")
        assert guesses.most_damage() == pytest.approx(sum(float(own.sum()) for own in lost))
        assert bool(shared_ways(graph, TARGET, evaluator)) != bool(rows)


def options(evaluator: Evaluator, ways: dict[int, tuple[SharedWay, ...]]) -> list[list[object]]:
    places = [evaluator.costs.places.numbers[name] for name in ("vta", "int4")]
    return [[*places, *ways.get(g.index, ())] for g in evaluator.groups.groups]


def test_guesses_are_the_optimum_at_their_price(tmp_path: Path) -> None:
    graph = chain(tmp_path)
    evaluator = prepare(graph, TARGET, packaged=True)
    ways = shared_ways(graph, TARGET, evaluator)
    guesses = Guesses(evaluator, ways, joins_layers=False)
    group_of = evaluator.groups.group_of

    def worth(choice: tuple[object, ...], price: float) -> float:
        total, taken = 0.0, set[int]()
        for option in choice:
            if isinstance(option, SharedWay):
                total += option.run_ps + price * option.damage
                taken |= {group_of[name] for name in option.nodes}
        for group, option in enumerate(choice):
            if group not in taken:
                known = next(o for o in guesses._whole[group] if o.place == option)
                total += known.run_ps + price * known.damage
        return total

    start = on_first_units(evaluator)
    assert guesses.around(start)
    for price in guesses._prices():
        found = guesses._at(start, price)
        least = min(worth(choice, price) for choice in product(*options(evaluator, ways)))
        mine = tuple(
            found.ways.get(g.index, found.placement[g.index]) for g in evaluator.groups.groups
        )
        assert worth(mine, price) == pytest.approx(least)


@pytest.mark.parametrize("seed", range(3))
def test_points_are_plans_and_plans_are_points(seed: int, tmp_path: Path) -> None:
    graph = model_of(CutNetwork(seed).grow(5), tmp_path)
    part, usual = PlacementPart(graph, TARGET), default_assignment(graph, arithmetic=UNITS)
    assert not any(map(shares_of, part.decode(part.default).values()))
    random, shared = np.random.default_rng(seed), 0
    for _ in range(20):
        point = tuple(int(random.integers(len(p))) for p in part.parameters)
        units = {**usual, **part.decode(point)}
        shared += any(map(shares_of, units.values()))
        assert {**usual, **part.decode(part.placed(part.default, units))} == units
        without_shares(Plan(units), graph, UNITS)  # is legal
        assert part.estimate(point) > 0
    assert shared


def test_estimates_order_ways_as_the_cut_graph_does(tmp_path: Path) -> None:
    graph = chain(tmp_path)
    part = PlacementPart(graph, TARGET)
    estimates, real = [], []
    for point in part.guesses():
        units = {**default_assignment(graph, arithmetic=UNITS), **part.decode(point)}
        shared = without_shares(Plan(units), graph, UNITS)
        evaluator = prepare(shared.graph, TARGET, packaged=True)
        pins = resolve_plan(shared.plan, evaluator.groups, TARGET.places).pins
        placement = tuple(pins[group] for group in range(len(evaluator.groups.groups)))
        estimates.append(part.estimate(point))
        real.append(evaluator.latency_ps(placement) / 1e9)
    assert any("/" in str(part.decode(point)) for point in part.guesses())
    assert np.corrcoef(estimates, real)[0, 1] > 0.8
