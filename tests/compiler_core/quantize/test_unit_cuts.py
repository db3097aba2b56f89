"""Operators cut over units compute what they did, in an order of channels that precision wants."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.accuracy.float_model import float_outputs
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.channel_classes import ChannelClasses
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.rounding_damage import channel_damage
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.sensitivity import sensitivities
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.quantize.unit_cuts import CutGraph, cut_over_units
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import is_place, shared_place, shares_of
from tests.cut_networks import CutNetwork, random_shares

UNITS = target_arithmetic(load_target("vta-duo"))
assert isinstance(UNITS, UnitArithmetics)


def loaded(content: bytes, folder: Path) -> Graph:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return load_model(path).graph


def chain(synthetic: ModuleType, folder: Path) -> Graph:
    """A convolution of 64 channels of which every other one is hard to round, its depthwise
    follower, and one that reads it."""
    b = synthetic.Builder(3)
    weight = b.random.normal(size=(64, 8, 1, 1)).astype("f4")
    weight[::2] = np.sign(weight[::2])  # three levels hold these
    b.constant("w", weight)
    b.add("Conv", ["x", "w"], "first")
    b.add("Relu", ["first"], "r")
    b.conv("r", "second", (64, 1, 3, 3), group=64)
    b.conv("second", "y", (10, 64, 1, 1))
    return loaded(b.model({"x": ["n", 8, 6, 6]}, {"y": ["n", 10, 6, 6]}), folder)


def cut(graph: Graph, plan: dict[str, str]) -> CutGraph:
    return cut_over_units(graph, {**default_assignment(graph, arithmetic=UNITS), **plan}, {}, UNITS)


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_graph_computes_the_same(seed: int, tmp_path: Path) -> None:
    graph = loaded(CutNetwork(seed).grow(7), tmp_path)
    plan = random_shares(graph, UNITS, default_assignment(graph, arithmetic=UNITS), seed)
    found = cut_over_units(graph, plan, {}, UNITS)
    assert any(shares_of(place) for place in plan.values())
    assert not any(shares_of(place) for place in found.assignment.values())
    assert found.assignment.keys() == {node.name for node in found.graph.nodes}
    samples = {"x": np.random.default_rng(seed).normal(size=(2, 5, 8, 8)).astype("f4")}
    before, after = float_outputs(graph, samples), float_outputs(found.graph, samples)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_statistics_are_those_of_the_cut_graph(seed: int, tmp_path: Path) -> None:
    graph = loaded(CutNetwork(seed).grow(6), tmp_path)
    samples = {"x": np.random.default_rng(seed).normal(size=(4, 5, 8, 8)).astype("f4")}
    plan = random_shares(graph, UNITS, default_assignment(graph, arithmetic=UNITS), seed)
    found = cut_over_units(graph, plan, profile_model(graph, samples, []).ranges(4), UNITS)
    measured = profile_model(found.graph, samples, []).ranges(4)
    for name in found.graph.types.keys() & measured.keys():
        own, real = found.ranges[name], measured[name]
        # A part keeps the range of the whole, with which it shares its scale.
        assert own.low <= real.low + 1e-3, name
        assert own.high >= real.high - 1e-3, name
        for axis, known in own.channels.items():
            np.testing.assert_allclose(known.mean, real.channels[axis].mean, atol=1e-3)
            np.testing.assert_allclose(known.high, real.channels[axis].high, atol=1e-3)


def test_channels_that_few_bits_damage_most_go_to_the_widest_weights(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    graph = chain(synthetic, tmp_path)
    for place, wide in (("vta/32+int4/32", "vta"), ("int4/32+vta/32", "vta")):
        found = cut(graph, {"n_first": place})
        weight = {
            node.name: found.graph.constants[node.inputs[1]]
            for node in found.graph.nodes
            if node.name.startswith("n_first/") and node.op == "Conv"
        }
        hard = np.abs(weight[f"n_first/{wide}"]) != 1
        assert hard.any(axis=(1, 2, 3)).all()
        assert not (np.abs(weight["n_first/int4"]) != 1).any()


def test_what_follows_counts_for_the_order(synthetic: ModuleType, tmp_path: Path) -> None:
    graph = chain(synthetic, tmp_path)
    both = {"n_first": "vta/32+int4/32", "n_second": "vta/32+int4/32"}
    found = cut(graph, both)
    node = next(node for node in found.graph.nodes if node.name == "n_second/int4")
    kept = found.graph.constants[node.inputs[1]]
    names = {n.name: n for n in graph.nodes}
    damage = sum(
        channel_damage(np.asarray(graph.constants[names[name].inputs[1]]), 7) for name in both
    )
    mildest = np.sort(np.argsort(-damage, kind="stable")[32:])
    expected = np.asarray(graph.constants[names["n_second"].inputs[1]])[mildest]
    assert {row.tobytes() for row in kept} == {row.tobytes() for row in expected}
    # Nobody reads the first one whole, so it is never put together.
    assert [n.name for n in found.graph.nodes if n.op == "Concat"] == ["n_second/whole"]


def test_dense_layers_are_cut_and_what_reads_them_undoes_the_order(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    b = synthetic.Builder(3)
    weight = b.random.normal(size=(24, 64)).astype("f4")
    weight[:, ::2] = np.sign(weight[:, ::2])  # three levels hold these
    b.constant("w", weight)
    b.add("MatMul", ["x", "w"], "first")
    b.add("Relu", ["first"], "r")
    b.dense("r", "y", 64, 10)
    graph = loaded(b.model({"x": ["n", 24]}, {"y": ["n", 10]}), tmp_path)
    found = cut(graph, {"n_first": "int4/32+vta/32"})
    weights = {n.name: found.graph.constants[n.inputs[1]] for n in found.graph.nodes[:2]}
    assert (np.abs(weights["n_first/int4"]) == 1).all()
    assert (np.abs(weights["n_first/vta"]) != 1).any(axis=0).all()
    samples = {"x": np.random.default_rng(0).normal(size=(3, 24)).astype("f4")}
    before, after = float_outputs(graph, samples), float_outputs(found.graph, samples)
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-3, atol=1e-3)


def test_dense_layers_over_sequences_are_not_cut(synthetic: ModuleType, tmp_path: Path) -> None:
    b = synthetic.Builder(3)
    b.constant("w", b.random.normal(size=(24, 64)).astype("f4"))
    b.add("MatMul", ["x", "w"], "y")
    graph = loaded(b.model({"x": ["n", 64, 24]}, {"y": ["n", 64, 64]}), tmp_path)
    with pytest.raises(InputError, match="over rows of features"):
        cut(graph, {"n_y": "vta/32+int4/32"})


def test_an_order_stays_where_the_model_hands_a_tensor_out(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    b = synthetic.Builder(1)
    b.conv("x", "c", (64, 8, 1, 1))
    b.conv("c", "y", (10, 64, 1, 1))
    outputs = {"y": ["n", 10, 6, 6], "c": ["n", 64, 6, 6]}
    graph = loaded(b.model({"x": ["n", 8, 6, 6]}, outputs), tmp_path)
    assert not ChannelClasses(graph).is_free("c")
    found = cut(graph, {"n_c": "vta/32+int4/32"})
    parts = [found.graph.constants[n.inputs[1]] for n in found.graph.nodes[:2]]
    whole = next(node for node in graph.nodes if node.name == "n_c").inputs[1]
    np.testing.assert_array_equal(np.concatenate(parts), graph.constants[whole])


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"n_first": "vta/16+int4/48"}, "multiples of 32"),
        ({"n_first": "vta/32+int4/64"}, "64 output channels, not 96"),
        ({"n_first": "vta/32+other/32"}, "'vta/32\\+other/32'"),
        ({"n_second": "vta/32+int4/32"}, "not cut like it"),
        ({"n_first": "vta/32+vta/32", "n_y": "vta/5+int4/5"}, "multiples of 32"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    plan: dict[str, str], reason: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    graph = chain(synthetic, tmp_path)
    with pytest.raises(InputError, match=reason):
        cut(graph, plan)


def test_each_share_has_a_sensitivity_of_its_own(synthetic: ModuleType, tmp_path: Path) -> None:
    graph = chain(synthetic, tmp_path)
    samples = {"x": np.random.default_rng(0).normal(size=(4, 8, 6, 6)).astype("f4")}
    plan = default_assignment(graph, arithmetic=UNITS) | {"n_first": "vta/32+int4/32"}
    scheme = QuantizationScheme(granularity=Granularity.CHANNEL)
    ranges = profile_model(graph, samples, []).ranges(4)
    found = sensitivities(graph, plan, ranges, scheme, samples, None, arithmetic=UNITS)
    noise = {item.name: item.own.value for item in found}
    assert noise.keys() == {"n_first/vta", "n_first/int4", "n_second", "n_y"}
    assert min(noise.values()) > 10  # dB: compared with the right channels


def test_names_of_shared_places() -> None:
    assert shares_of("vta/32+int4/96") == (("vta", 32), ("int4", 96))
    assert shared_place((("vta", 32), ("int4", 96))) == "vta/32+int4/96"
    assert shared_place((("vta", 64),)) == "vta"
    for name in ("vta", "vta/32", "vta/0+int4/64", "vta/32+", "vta+int4", "vta/32+int4"):
        assert not shares_of(name)
    assert is_place("vta/32+int4/96")
    assert not is_place("vta/32+")
