"""Which operators stay in float: parts by damage, and sets that grow by damage per cost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment, left_beside
from compiler_core.quantize.good_enough import excess, shortfall
from compiler_core.quantize.ladder import FLOAT, climb
from compiler_core.quantize.left_in_float import (
    LEVELS,
    NEGLIGIBLE,
    FloatPart,
    damaging_parts,
    growing_sets,
)
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.quality import OutputQuality
from compiler_core.units.names import CPU_INT8

damages = st.lists(st.sampled_from([0.0, 0.001, 0.1, 1.0, 30.0]), min_size=1, max_size=40)


@given(damages, st.integers(1, 200))
def test_parts_hold_every_operator_once_within_the_budget(damage, most):
    names = [f"n{number}" for number in range(len(damage))]
    known = dict(zip(names, damage, strict=True))
    asked = []

    def measure(part):
        asked.append(part)
        return sum(known[name] for name in part)

    parts = damaging_parts([[name] for name in names], measure, most)
    assert [name for part in parts for name in part.nodes] == names
    assert len(asked) <= max(1, most)
    assert all(part.damage == pytest.approx(sum(known[n] for n in part.nodes)) for part in parts)
    if most >= 2 * len(names):
        assert all(len(part.nodes) == 1 or part.damage < NEGLIGIBLE for part in parts)


@given(damages, st.data())
def test_sets_grow_and_leave_ever_less_damage(damage, data):
    parts = [FloatPart((f"n{number}",), value) for number, value in enumerate(damage)]
    cost = {part.nodes[0]: data.draw(st.integers(1, 1000)) for part in parts}
    sets = growing_sets(parts, cost)
    assert all(before < after for before, after in pairwise(sets))
    total = sum(damage)
    left = [total, *(sum(p.damage for p in parts if p.nodes[0] not in found) for found in sets)]
    assert left[-1] <= min(LEVELS) + 1e-9
    for found in sets:
        # Nobody is left out who does more damage for less.
        ratio = min(p.damage / cost[p.nodes[0]] for p in parts if p.nodes[0] in found)
        others = [p.damage / cost[p.nodes[0]] for p in parts if p.nodes[0] not in found]
        assert max(others, default=0.0) <= ratio


def test_noise_that_is_just_allowed_counts_as_one():
    found = OutputQuality("y", 20.0, 15.0, None, 0, False, 8)
    assert excess(found) == pytest.approx(1)
    assert shortfall(found) == 0
    assert excess(OutputQuality("y", 30.0, 15.0, None, 0, False, 8)) == pytest.approx(1)
    assert excess(OutputQuality("y", 10.0, None, None, 0, False, 8)) == pytest.approx(10)
    assert excess(OutputQuality("y", 0.0, None, 0.95, 100, True, 8)) == pytest.approx(1)


def spiky(plain, layers=6, bad=3):
    """Dense layers of which one writes a channel that is 3,000 times larger than the others, which
    alone count behind it."""
    random = np.random.default_rng(0)
    b, last = plain.GraphBuilder(x=(16,)), "x"
    for layer in range(layers):
        weight = random.standard_normal((16, 16)) / 4
        bias = 0.1 * random.standard_normal(16)
        if layer == bad:
            bias[0] = 3000.0
        if layer == bad + 1:
            weight[0] = 0
        w, c = (b.constant(f"{n}{layer}", v.astype("f4")) for n, v in (("w", weight), ("b", bias)))
        name = "y" if layer == layers - 1 else f"h{layer}"
        last = b.add("Gemm", [last, w, c], name, (16,))
    return b.build("y")


def test_a_ruin_keeps_its_worst_layers_in_float_and_the_others_on_the_npu(plain):
    graph = spiky(plain)
    samples = {"x": np.random.default_rng(1).standard_normal((24, 16)).astype("f4")}
    profile, assignment = profile_model(graph, samples), default_assignment(graph)
    found = climb(graph, assignment, profile)
    assert (found.ladder.taken, found.ladder.good_enough) == (FLOAT, True)
    kept = set(found.scheme.float_layers)
    writers = {n.name for n in graph.nodes if "h3" in (*n.outputs, *n.inputs)}
    assert kept & writers
    assert len(kept) < len(graph.nodes)
    applied = apply_profile(graph, assignment, profile, found.scheme)
    assert {name for name, place in applied.assignment.items() if place == "cpu"} == kept
    again = climb(graph, assignment, profile)
    assert (again.scheme, again.ladder) == (found.scheme, found.ladder)
    pinned = climb(graph, assignment, profile, pinned=True)
    assert not pinned.ladder.good_enough
    assert not pinned.scheme.float_layers


def test_loops_beside_what_stays_in_float_stay_in_float(plain):
    b = plain.GraphBuilder(x=(16,))
    w = np.random.default_rng(0).standard_normal((16, 16)).astype("f4") / 4
    for number in range(2):
        b.constant(f"w{number}", w)
    b.add("MatMul", ["x", "w0"], "h", (16,))
    b.add("Sigmoid", ["h"], "s", (16,))
    b.add("MatMul", ["s", "w1"], "y", (16,))
    graph = b.build("y")
    usual = default_assignment(graph)
    nodes = {node.outputs[0]: node.name for node in graph.nodes}
    assert usual[nodes["s"]] == CPU_INT8
    assert left_beside(graph, [nodes["h"]]) == {nodes["h"], nodes["s"]}
    assert left_beside(graph, []) == set()
    samples = {"x": np.random.default_rng(1).standard_normal((8, 16)).astype("f4")}
    from compiler_core.quantize.scheme import QuantizationScheme

    scheme = QuantizationScheme(float_layers=(nodes["s"],))
    applied = apply_profile(graph, usual, profile_model(graph, samples), scheme)
    assert applied.assignment[nodes["s"]] == "cpu"
    assert applied.reasons[nodes["s"]] == "The scheme keeps it in float."
