"""Number formats of single operators on the CPU: names, what is allowed, and what they compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from compiler_core.clock.machine import this_machine
from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import InputError
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.affine import activation_integers
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import (
    Dynamic,
    Half,
    Rounding,
    Static,
    WeightOnly,
    candidates,
    precision_of,
    precisions_of,
    timed_as,
    with_narrow_weights,
)
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU

NAMES = ("residual", "concat", "mixed", "depthwise")
_SATURATING = ("u8s8", "s8s8", "d8")
"""Formats whose kernels may add two products in 16 bits."""
SCHEME = QuantizationScheme(activation_range=RangeMethod.MAX, bias_correction=True)


@pytest.fixture(scope="module", params=NAMES)
def known(
    request: pytest.FixtureRequest, synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FloatModel, Profile]:
    folder: Path = tmp_path_factory.mktemp("models")
    model = load_model(synthetic.write(request.param, folder))
    return model, profile_model(model.graph, synthetic.samples(request.param, 8))


def test_names() -> None:
    assert precision_of("cpu") is precision_of("cpu:int8") is precision_of("vta0") is None
    assert precision_of("cpu:u8") == Static("uint8")
    assert precision_of("cpu:s8s8t") == Static("int8", "int8")
    assert precision_of("cpu:u16s8c") == Static("uint16", "int8", True)
    assert precision_of("cpu:u8s7t") == Static("uint8", "int8", narrow=True)
    assert precision_of("cpu:s8j") == Static("int8", joined=True)
    assert timed_as("cpu:u8s7c") == "cpu:u8s8c" == timed_as("cpu:u8s8c")
    assert with_narrow_weights("cpu:u8s8t") == "cpu:u8s7t" == with_narrow_weights("cpu:u8s7t")
    assert with_narrow_weights("cpu:s8s8c") == "cpu:s8s8c"
    assert precision_of("cpu:d8c") == Dynamic(True)
    assert precision_of("cpu:f16") == Half()
    assert precision_of("cpu:w4b32") == WeightOnly(4, 32)
    assert precision_of("cpu:w8b128zgl4") == WeightOnly(8, 128, True, Rounding.GPTQ, 4)
    for name in (
        "cpu:u4",
        "cpu:w4b33",
        "cpu:w5b32",
        "cpu:u8s8",
        "cpu:d8",
        "cpu:w4b32l5",
        "cpu:u8s8j",
    ):
        with pytest.raises(InputError, match="no number format of the CPU"):
            precision_of(name)


def places(known: tuple[FloatModel, Profile], wanted: str, others: str) -> dict[str, str]:
    model, profile = known
    found = {}
    for node in model.graph.nodes:
        options = [place for place, _ in candidates(model.graph, node, profile.ranges())]
        name = next((name for name in (wanted, others) if name in options), None)
        if name is not None:
            found[node.name] = name
    return found


@pytest.mark.parametrize(
    ("wanted", "others", "least_db"),
    [
        ("cpu:u8s8c", "cpu:u8", 18), ("cpu:s8s8t", "cpu:s8", 15), ("cpu:u8u8c", "cpu:u8", 18),
        ("cpu:u8s8t", "", 15), ("cpu:u16s8c", "", 25), ("cpu:f16", "", 50), ("cpu:d8c", "", 20),
        ("cpu:u8s7c", "cpu:u8", 15), ("cpu:u8s7t", "cpu:u8j", 12),
        ("cpu:w8b16", "", 30), ("cpu:w4b16z", "", 10), ("cpu:w4b32l4", "", 8),
    ],
)  # fmt: skip
def test_what_is_written_computes_nearly_the_same(
    known: tuple[FloatModel, Profile], wanted: str, others: str, least_db: float
) -> None:
    model, profile = known
    asked = precisions_of(places(known, wanted, others))
    lowered = lower_precisions(model.graph, asked, profile.ranges(), SCHEME)
    onnx.checker.check_model(export_onnx(lowered))
    inputs = profile.first()
    assert inputs is not None
    theirs = FloatSession(model.graph).run(inputs)
    for optimize in (False, True):
        ours = FloatSession(lowered, optimize=optimize).run(inputs)
        fused = optimize or wanted == "cpu:d8c"
        if fused and wanted[4:-1] in _SATURATING and this_machine().saturates:
            continue
        for name, real in theirs.items():
            lost = ((ours[name] - real) ** 2).sum()
            assert 10 * np.log10((real**2).sum() / max(lost, 1e-12)) >= least_db, name


def test_integers_are_those_of_the_definition(synthetic: ModuleType, tmp_path: Path) -> None:
    """``residual``'s last product in numbers, one by one."""
    model = load_model(synthetic.write("residual", tmp_path))
    graph = model.graph
    profile = profile_model(graph, synthetic.samples("residual", 8))
    node, ranges = graph.nodes[-1], profile.ranges()
    source = node.inputs[0]
    lowered = lower_precisions(
        graph,
        {node.name: Static("uint8", "int8", True)},
        ranges,
        replace(SCHEME, bias_correction=False),
    )
    inputs = profile.first()
    assert inputs is not None
    x = FloatSession(graph, [source]).run(inputs)[source].astype(np.float64)
    own = activation_integers(ranges[source], "uint8", RangeMethod.MAX)
    q = np.clip(np.rint(x.astype("f4") / np.float32(own.scale)) + own.zero_point, 0, 255)
    weight = graph.constants[node.inputs[1]].astype(np.float64)
    scales = next(
        lowered.constants[n.inputs[1]]
        for n in lowered.nodes
        if n.op == "DequantizeLinear" and n.inputs[0] in lowered.constants
        and lowered.constants[n.inputs[0]].dtype == np.int8
    )  # fmt: skip
    levels = np.clip(np.rint(weight.astype("f4") / scales), -127, 127)
    bias = np.rint(graph.constants[node.inputs[2]] / (scales * np.float32(own.scale)))
    real = ((q - own.zero_point) @ levels + bias) * scales * own.scale
    found = FloatSession(lowered, optimize=False).run(inputs)[node.output]
    np.testing.assert_allclose(found, real, rtol=1e-5, atol=1e-5)


def test_plans_say_formats(known: tuple[FloatModel, Profile]) -> None:
    model, profile = known
    asked = places(known, "cpu:u8s8c", "cpu:u8")
    units = {node.name: CPU for node in model.graph.nodes} | asked
    applied = apply_profile(model.graph, units, profile, SCHEME)
    written = {node.op_type for node in qdq_model(applied.quantized).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= written
    (segment,) = applied.quantized.segments
    assert segment.graph is segment.qdq  # type: ignore[union-attr]


def test_what_plans_cannot_say(synthetic: ModuleType, tmp_path: Path) -> None:
    model = load_model(synthetic.write("mixed", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("mixed", 8))
    tanh = next(node for node in model.graph.nodes if node.op == "Tanh")
    conv = next(node for node in model.graph.nodes if node.op == "Conv")
    units = {node.name: CPU for node in model.graph.nodes}
    for node, place, reason in (
        (tanh, "cpu:u8", "no integer kernel of Tanh"),
        (conv, "cpu:w4b32", "Only matrix products"),
        (conv, "cpu:u8", "their format is missing"),
        (tanh, "cpu:u8j", "Only concatenations join"),
    ):
        with pytest.raises(InputError, match=reason):
            apply_profile(model.graph, {**units, node.name: place}, profile, SCHEME)


@pytest.mark.parametrize(("mode", "able"), [("nearest", True), ("linear", True), ("cubic", False)])
def test_integers_pass_through_what_stays_between_them(mode: str, able: bool) -> None:
    types = {name: TensorType("float32", (1, 2, 4, 4)) for name in "xy"}
    node = Node("n", "Resize", ("x", "", "s"), ("y",), {"mode": mode})
    factors = np.array([1, 1, 2, 2], np.float32)
    graph = Graph("g", ("x",), ("y",), (node,), {"s": factors}, types, {"": 17})
    ranges = dict.fromkeys("xy", TensorRange(-1.0, 2.0))
    places = {place for place, _ in candidates(graph, node, ranges)}
    assert places == ({"cpu:u8", "cpu:s8"} if able else set())
    if able:
        lowered = lower_precisions(graph, {"n": Static("uint8")}, ranges, SCHEME)
        x = np.random.default_rng(0).uniform(-1, 2, (1, 2, 4, 4)).astype("f4")
        real = FloatSession(graph).run({"x": x})["y"]
        for optimize in (False, True):
            found = FloatSession(lowered, optimize=optimize).run({"x": x})["y"]
            assert np.abs(found - real).max() <= 2 * 3 / 255


def test_clamps_of_their_own_pass_integers() -> None:
    """As in models that were quantized before, where limits of integers stand as clamps."""
    types = {name: TensorType("float32", (1, 8, 6, 6)) for name in "xcry"}
    weight = np.random.default_rng(1).normal(size=(8, 8, 1, 1)).astype("f4")
    pool = {"kernel_shape": [2, 2], "strides": [1, 1]}
    nodes = (
        Node("conv", "Conv", ("x", "w"), ("c",), {"kernel_shape": [1, 1]}),
        Node("relu", "Relu", ("c",), ("r",)),
        Node("pool", "MaxPool", ("r",), ("y",), pool, clip=(0.0, 6.0)),
    )
    types["y"] = TensorType("float32", (1, 8, 5, 5))
    graph = Graph("g", ("x",), ("y", "c"), nodes, {"w": weight}, types, {"": 17})
    ranges = {
        "x": TensorRange(-1, 1), "c": TensorRange(-5, 5), "r": TensorRange(0, 5),
        "y": TensorRange(0, 5),
    }  # fmt: skip
    for node in nodes[1:]:
        assert "cpu:u8" in {place for place, _ in candidates(graph, node, ranges)}
    beyond = {**ranges, "r": TensorRange(0, 9)}
    assert "cpu:u8" not in {place for place, _ in candidates(graph, nodes[2], beyond)}
    asked = {"conv": Static("uint8", "int8", narrow=True)} | dict.fromkeys(
        ("relu", "pool"), Static("uint8")
    )
    lowered = lower_precisions(graph, asked, ranges, SCHEME)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 8, 6, 6)).astype("f4")
    real = FloatSession(graph).run({"x": x})["y"]
    for optimize in (False, True):
        found = FloatSession(lowered, optimize=optimize).run({"x": x})["y"]
        inside = real < 5
        assert np.abs(found - real)[inside].max() < 0.3
