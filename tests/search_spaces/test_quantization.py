"""The quantization space: encoding, legality, subsets."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod, Scales, scheme_document
from search_spaces.quantization import QuantizationSpace, quantune_parameters


@pytest.fixture
def network():
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "v": random.standard_normal((5, 8, 1, 1)).astype(np.float32),
    }
    types = {name: TensorType("float32", value.shape) for name, value in constants.items()}
    types |= {
        "x": TensorType("float32", (1, 3, 6, 6)),
        "h": TensorType("float32", (1, 8, 6, 6)),
        "y": TensorType("float32", (1, 5, 6, 6)),
    }
    nodes = (
        Node("first", "Conv", ("x", "w"), ("h",), {"pads": (1, 1, 1, 1)}, "", (0.0, np.inf)),
        Node("second", "Conv", ("h", "v"), ("y",)),
    )
    return Graph(
        "small", ("x",), ("y",), nodes, constants, types, {"": 17}, (), frozenset({"x", "h", "y"})
    )


def test_points_and_schemes_are_one_to_one(network):
    space = QuantizationSpace(network, default_assignment(network), ranking=["second", "first"])
    points = list(space.enumerate())
    assert len(points) == space.rule_counts()[-1].left
    schemes = [space.scheme(point) for point in points]
    assert len({scheme.digest for scheme in schemes}) == len(points)
    for point, scheme in zip(points[:50], schemes, strict=False):
        assert space.point(scheme) == point
        assert space.decode(point) == scheme_document(scheme)
    assert space.default in points
    assert space.scheme(space.default) == QuantizationScheme()
    assert set(space.guesses()) <= set(points)


def test_operators_that_the_default_keeps_in_float_are_one_decision(network):
    default = QuantizationScheme(float_layers=("second",))
    space = QuantizationSpace(
        network, default_assignment(network), default=default, per_layer=["first", "second"]
    )
    assert space.scheme(space.default) == default
    points = list(space.enumerate())
    assert space.default in points
    schemes = [space.scheme(point) for point in points]
    assert len({scheme.digest for scheme in schemes}) == len(points)
    for point, scheme in zip(points[:100], schemes, strict=False):
        assert space.point(scheme) == point
    usual = QuantizationSpace(network, default_assignment(network))
    assert len({space.digest, usual.digest}) == 2


def test_room_of_a_default_of_few_samples_is_one_more_way_to_find_ranges(network):
    default = QuantizationScheme(activation_range=RangeMethod.ROOMY)
    space = QuantizationSpace(network, default_assignment(network), default=default)
    assert space.scheme(space.default) == default
    usual = QuantizationSpace(network, default_assignment(network))
    (own, other) = (len(s.parameters[2].values) for s in (space, usual))
    assert own == other + 1


def test_the_target_decides(network):
    on_npu = QuantizationSpace(network, default_assignment(network))
    scheme = QuantizationScheme(Scales.ASYMMETRIC)
    reasons = on_npu.refusals(scheme)
    assert reasons["first"].startswith("Padding adds the integer 0")
    assert on_npu.violations(on_npu.point(scheme)) == ("target",)
    on_cpu = QuantizationSpace(network, dict.fromkeys(("first", "second"), "cpu"))
    assert on_cpu.is_legal(on_cpu.point(scheme))


def test_quantunes_space_is_a_subset(network):
    space = QuantizationSpace(network, {"first": "cpu", "second": "cpu"}, quantune_parameters())
    assert space.size == 96
    assert len(list(space.enumerate())) == 96


def test_switches_per_layer(network):
    space = QuantizationSpace(
        network, default_assignment(network), ranking=["first"], per_layer=["first", "second"]
    )
    scheme = QuantizationScheme(float_layers=("first", "second"))
    assert space.scheme(space.point(scheme)) == scheme
    # The count says it already, so the switch of the first layer is off.
    assert space.point(scheme)[-2:] == (0, 1)
    with pytest.raises(InputError, match="'relu' is no layer with weights"):
        QuantizationSpace(network, default_assignment(network), ranking=["relu"])
    with pytest.raises(InputError, match="the space has sizes"):
        space.scheme((0,))
    with pytest.raises(InputError, match="cannot keep"):
        QuantizationSpace(network, default_assignment(network)).point(scheme)
