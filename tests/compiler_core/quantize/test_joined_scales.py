"""Concatenations that copy integers: what they read has the scale of what they write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.compile.sources import load_model
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.affine import activation_integers
from compiler_core.quantize.joined_scales import joined_integers
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import Static, candidates, has_weights, precisions_of
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.quantize.statistics import TensorRange

JOINED = Static("uint8", joined=True)
MAX = RangeMethod.MAX


def chain(nodes: list[Node], inputs: list[str]) -> Graph:
    names = {*inputs, *(name for node in nodes for name in node.outputs)}
    types = {name: TensorType("float32", (1, 4)) for name in names}
    return Graph("g", tuple(inputs), (nodes[-1].output,), tuple(nodes), {}, types, {"": 17})


def concat(name: str, inputs: tuple[str, ...]) -> Node:
    return Node(name, "Concat", inputs, (name,), {"axis": 1})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, 9), min_size=2, max_size=3, unique=True), min_size=1, max_size=4
    ),
    st.lists(
        st.tuples(st.floats(-9, 0), st.floats(0.01, 9)), min_size=14, max_size=14
    ),
)  # fmt: skip
def test_all_that_is_joined_has_one_scale_that_holds_it(
    read: list[list[int]], ends: list[tuple[float, float]]
) -> None:
    """Any graph of concatenations, also of what others have joined."""
    nodes: list[Node] = []
    for number, own in enumerate(read):
        names = [f"x{i}" if i < 6 + number else f"c{i % (number + 1)}" for i in own]
        known = [n if n[0] == "x" or int(n[1:]) < number else "x0" for n in names]
        nodes.append(concat(f"c{number}", tuple(dict.fromkeys(known))))
    inputs = sorted({n for node in nodes for n in node.inputs if n[0] == "x"})
    graph = chain(nodes, inputs)
    values = {name: TensorRange(*ends[i]) for i, name in enumerate(sorted(graph.types))}
    for node in nodes:  # what is joined holds what it is made of
        own = [values[name] for name in node.inputs]
        values[node.output] = TensorRange(min(o.low for o in own), max(o.high for o in own))
    found = joined_integers(graph, {node.name: JOINED for node in nodes}, values, MAX)
    for node in nodes:
        types = {found[name, "uint8"] for name in (*node.inputs, node.output)}
        assert len(types) == 1
        own_type = types.pop()
        low, high = (own_type.scale * limit for limit in own_type.limits)
        known_range = values[node.output]
        assert low <= known_range.low + own_type.scale
        assert high >= known_range.high - own_type.scale


def test_one_concatenation_keeps_the_scale_of_what_it_writes() -> None:
    graph = chain([concat("y", ("a", "b"))], ["a", "b"])
    ranges = {"a": TensorRange(-1, 2), "b": TensorRange(0, 3), "y": TensorRange(-1, 3)}
    found = joined_integers(graph, {"y": JOINED}, ranges, MAX)
    assert found == {
        (name, "uint8"): activation_integers(ranges["y"], "uint8", MAX) for name in "aby"
    }
    assert joined_integers(graph, {"y": Static("uint8")}, ranges, MAX) == {}


def test_the_scale_spreads_through_operators_that_move_values() -> None:
    pool = Node("p", "MaxPool", ("a",), ("p",), {"kernel_shape": [1, 1]})
    graph = chain([pool, concat("y", ("p", "b"))], ["a", "b"])
    ranges = {name: TensorRange(-1, 2) for name in "apb"} | {"y": TensorRange(-1, 5)}
    found = joined_integers(graph, {"p": Static("uint8"), "y": JOINED}, ranges, MAX)
    assert {name for name, _ in found} == {"a", "p", "b", "y"}
    assert len(set(found.values())) == 1


def test_what_others_read_before_a_clamp_keeps_its_values() -> None:
    join = replace(concat("y", ("p", "b")), clip=(0.0, float("inf")))
    pool = Node("p", "MaxPool", ("a",), ("p",), {"kernel_shape": [1, 1]})
    ranges = {name: TensorRange(-4, 2) for name in "apb"} | {"y": TensorRange(0, 5)}
    asked = {"p": Static("uint8"), "y": JOINED}
    alone = joined_integers(chain([pool, join], ["a", "b"]), asked, ranges, MAX)
    assert {found.zero_point for found in alone.values()} == {0}
    beside = Node("t", "Tanh", ("a",), ("t",))
    both = joined_integers(chain([pool, beside, join], ["a", "b"]), asked, ranges, MAX)
    (found,) = set(both.values())
    assert found.limits[0] * found.scale <= -3.9
    assert found.limits[1] * found.scale >= 4.9


def test_the_scale_spreads_through_clamps_of_their_own() -> None:
    clamp = Node("p", "Relu", ("a",), ("p",))
    join = concat("y", ("p", "b"))
    ranges = {"a": TensorRange(-4, 2), "p": TensorRange(0, 2), "b": TensorRange(0, 3)}
    ranges["y"] = TensorRange(0, 3)
    asked = {"p": Static("uint8"), "y": JOINED}
    found = joined_integers(chain([clamp, join], ["a", "b"]), asked, ranges, MAX)
    assert {name for name, _ in found} == {"a", "p", "b", "y"}
    assert {own.zero_point for own in found.values()} == {0}
    beside = Node("t", "Tanh", ("a",), ("t",))
    (both,) = set(
        joined_integers(chain([clamp, beside, join], ["a", "b"]), asked, ranges, MAX).values()
    )
    assert both.limits[0] * both.scale <= -3.9


@pytest.mark.parametrize("optimize", [False, True])
def test_what_copies_computes_as_well_as_what_rescales(
    synthetic: ModuleType, tmp_path: Path, optimize: bool
) -> None:
    model = load_model(synthetic.write("concat", tmp_path))
    graph = model.graph
    profile = profile_model(graph, synthetic.samples("concat", 8))
    ranges, inputs = profile.ranges(), profile.first()
    assert inputs is not None
    real = FloatSession(graph).run(inputs)["y"]
    lost = {}
    for own in ("u8", "u8j"):
        places = {}
        for node in graph.nodes:
            options = {place for place, _ in candidates(graph, node, ranges)}
            place = f"cpu:{'u8s7c' if has_weights(graph, node) else own}"
            if place in options:
                places[node.name] = place
        scheme = QuantizationScheme(activation_range=MAX)
        lowered = lower_precisions(graph, precisions_of(places), ranges, scheme)
        found = FloatSession(lowered, optimize=optimize).run(inputs)["y"]
        lost[own] = float(((found - real) ** 2).sum() / (real**2).sum())
        scales = {
            float(lowered.constants[lowered.producer(name).inputs[1]])  # type: ignore[union-attr]
            for node in lowered.nodes
            if node.op == "Concat"
            for name in node.inputs
        }
        assert (len(scales) == 1) == (own == "u8j")
    assert lost["u8j"] < 4 * lost["u8"] < 0.1


def test_scales_apart_are_offered_where_somebody_else_reads(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    for name, offered in (("concat", {"u8j", "s8j", "u8", "s8"}), ("batch_of_two", {"u8j", "s8j"})):
        graph = load_model(synthetic.write(name, tmp_path)).graph
        ranges = {tensor: TensorRange(-1, 1) for tensor in graph.types}
        node = next(node for node in graph.nodes if node.op == "Concat")
        places = {place.removeprefix("cpu:") for place, _ in candidates(graph, node, ranges)}
        assert places == offered
