"""Operators spelled out: the same numbers as onnxruntime gives for the whole one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from tests.compiler_core.units.cpu.c.cases import Model, samples


@pytest.mark.parametrize("shape", [(1, 6), (2, 3, 5), (1, 6, 4, 3)])
def test_slopes_per_channel(shape: tuple[int, ...]) -> None:
    m = Model(shape)
    slope = m.weight(shape[1], *(1 for _ in shape[2:]))
    check(m, m.node("PRelu", "x0", slope), "PRelu")


@pytest.mark.parametrize(("shape", "axis"), [((3, 7), -1), ((2, 4, 5), 1), ((2, 3, 4, 5), 0)])
def test_logarithms_of_softmax(shape: tuple[int, ...], axis: int) -> None:
    m = Model(shape)
    check(m, m.node("LogSoftmax", "x0", axis=axis), "LogSoftmax")


@pytest.mark.parametrize("shape", [(1, 3, 8), (2, 4, 5, 3)])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_instances(shape: tuple[int, ...], epsilon: float) -> None:
    m = Model(shape)
    weights = m.weight(shape[1]), m.weight(shape[1])
    node = m.node("InstanceNormalization", "x0", *weights, epsilon=epsilon)
    check(m, m.node("Relu", node), "InstanceNormalization")


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_several_tensors(op: str) -> None:
    m = Model((2, 3, 5), (1, 3, 1), (5,), (2, 1, 5))
    check(m, m.node(op, *m.inputs), op, left=op in ("Max", "Min"))


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"])
@pytest.mark.parametrize(("axes", "keep"), [([1], 1), ([0, -1], 0), (None, 1)])
def test_reductions(op: str, axes: list[int] | None, keep: int) -> None:
    m = Model((2, 3, 5))
    given = [] if axes is None else [m.array(axes, "int64")]
    check(m, m.node(op, "x0", *given, keepdims=keep), op)


def test_large_exponents_stay_finite() -> None:
    m = Model((2, 4))
    large = m.node("Mul", "x0", m.array(300.0))
    check(m, m.node("ReduceLogSumExp", large, m.array([1], "int64")), "ReduceLogSumExp")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_exponents_stay(value: float) -> None:
    m = Model((2, 2))
    some = m.node("Add", "x0", m.array([[value, value], [0.0, -np.inf]]))
    check(m, m.node("ReduceLogSumExp", some, m.array([1], "int64")), "ReduceLogSumExp")


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_lengths_of_one(power: int, axis: int) -> None:
    m = Model((2, 3, 5))
    check(m, m.node("LpNormalization", "x0", axis=axis, p=power), "LpNormalization")


@pytest.mark.parametrize("power", [1, 2])
def test_what_has_no_length_stays(power: int) -> None:
    m = Model((2, 3))
    some_zero = m.node("Mul", "x0", m.array([[0.0], [1.0]]))
    check(m, m.node("LpNormalization", some_zero, axis=1, p=power), "LpNormalization")


@pytest.mark.parametrize("alpha", [1.0, 0.4, 3.0])
def test_celu(alpha: float) -> None:
    m = Model((2, 9))
    check(m, m.node("Celu", "x0", alpha=alpha), "Celu")


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 2, 1, 0, 0, 1, 3], [0, 1, 0, -1, 0, 1, 2, 1]])
def test_pads_of_own_elements(mode: str, pads: list[int]) -> None:
    m = Model((1, 3, 5, 6))
    check(m, m.node("Pad", "x0", m.array(pads, "int64"), mode=mode), "Pad")


def test_pads_of_a_number_stay() -> None:
    m = Model((1, 3, 4))
    graph = m.graph(m.node("Pad", "x0", m.array([0, 0, 1, 0, 0, 1], "int64")))
    assert spelled_out(graph) is graph


def test_one_slope_stays() -> None:
    m = Model((1, 4))
    graph = m.graph(m.node("PRelu", "x0", m.array([0.25])))
    assert spelled_out(graph) is graph


ANGLES = ["Acos", "Asin", "Asinh", "Atanh", "Cosh", "Sinh", "Tan"]


@pytest.mark.parametrize("op", ANGLES)
def test_functions_of_angles(op: str) -> None:
    m = Model((3, 40))
    inside = m.node("Mul", m.node("Tanh", "x0"), m.array(0.98))
    check(m, m.node(op, inside), op)


def test_acosh_from_one_on() -> None:
    m = Model((3, 40))
    check(m, m.node("Acosh", m.node("Add", m.node("Abs", "x0"), m.array(1.0))), "Acosh")


def test_powers_of_a_number() -> None:
    m = Model((3, 4))
    check(m, m.node("Pow", m.array(1.7), "x0"), "Pow")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_hardmax(axis: int) -> None:
    m = Model((2, 3, 5))
    check(m, m.node("Hardmax", "x0", axis=axis), "Hardmax")


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_triangles(upper: int, offset: int) -> None:
    m = Model((2, 4, 3))
    check(m, m.node("Trilu", "x0", m.array(offset, "int64"), upper=upper), "Trilu")


PLACES = np.random.default_rng(5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_elements_at_constant_places(axis: int) -> None:
    m = Model((3, 4, 5))
    size = (3, 4, 5)[axis]
    found = m.array(PLACES.integers(-size, size, (2, 3, 4)), "int64")
    check(m, m.node("GatherElements", "x0", found, axis=axis), "GatherElements")


@pytest.mark.parametrize(("depth", "leading"), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1)])
def test_parts_at_constant_places(depth: int, leading: int) -> None:
    m = Model((3, 3, 3))
    found = m.array(PLACES.integers(-3, 3, (3, 2, depth)), "int64")
    check(m, m.node("GatherND", "x0", found, batch_dims=leading), "GatherND")


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_elements_to_constant_places(op: str) -> None:
    m = Model((3, 4), (2, 4) if op == "ScatterND" else (2, 3))
    rows = [[2], [-3]] if op == "ScatterND" else [[0, -1, 1], [2, 0, 2]]
    more = {} if op == "ScatterND" else {"axis": 0}
    check(m, m.node(op, "x0", m.array(rows, "int64"), "x1", **more), op)


def test_sums_at_constant_places_stay() -> None:
    m = Model((3, 4), (2, 4))
    graph = m.graph(m.node("ScatterND", "x0", m.array([[2], [2]], "int64"), "x1", reduction="add"))
    assert spelled_out(graph) is graph


@pytest.mark.parametrize("time", [0, 1])
def test_sequences_backwards(time: int) -> None:
    m = Model((4, 4, 2))
    lengths = m.array([1, 4, 0, 3], "int64")
    axes = {"time_axis": time, "batch_axis": 1 - time}
    check(m, m.node("ReverseSequence", "x0", lengths, **axes), "ReverseSequence")


@pytest.mark.parametrize("axis", [None, 1])
def test_compressed(axis: int | None) -> None:
    m = Model((2, 3, 4))
    more = {} if axis is None else {"axis": axis}
    check(m, m.node("Compress", "x0", m.array([1, 0, 1], "bool"), **more), "Compress")


@pytest.mark.parametrize("op", ["LayerNormalization"])
@pytest.mark.parametrize("axis", [1, 2])
def test_layers_of_several_axes(op: str, axis: int) -> None:
    m = Model((2, 3, 4, 5))
    shape = (2, 3, 4, 5)[axis:]
    found = m.node(op, "x0", m.weight(*shape), m.weight(*shape), axis=axis)
    graph = m.graph(found)
    spelled = spelled_out(graph)
    assert next(n for n in spelled.nodes if n.op == op).attributes["axis"] == -1
    same(graph, spelled)


def test_means_and_deviations_of_a_layer() -> None:
    m = Model((2, 3, 4))
    found = m.node("LayerNormalization", "x0", m.weight(4), m.weight(4), outputs=3)
    graph = m.graph(*found)
    spelled = spelled_out(graph)
    assert "LayerNormalization" not in [node.op for node in spelled.nodes]
    same(graph, spelled)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_pools_of_powers(power: int) -> None:
    m = Model((1, 3, 7, 6))
    known = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1], "p": power}
    check(m, m.node("LpPool", "x0", **known), "LpPool")


@pytest.mark.parametrize("size", [3, 5])
def test_local_response(size: int) -> None:
    m = Model((2, 5, 3, 4))
    check(m, m.node("LRN", "x0", size=size, alpha=0.3, beta=0.6, bias=1.5), "LRN")


@pytest.mark.parametrize("shapes", [((5,), (5,)), ((2, 3, 5), (5,)), ((3,), (2, 3, 4))])
def test_products_of_vectors(shapes: tuple[tuple[int, ...], ...]) -> None:
    m = Model(*shapes)
    graph = m.graph(m.node("MatMul", *m.inputs))
    spelled = spelled_out(graph)
    assert all(
        len(spelled.types[x].shape or ()) > 1
        for n in spelled.nodes
        if n.op == "MatMul"
        for x in n.inputs
    )
    same(graph, spelled)


@pytest.mark.parametrize("length", [None, 8, 13])
@pytest.mark.parametrize("axis", [1, 2])
def test_transforms(length: int | None, axis: int) -> None:
    m = Model((2, 10, 9, 1))
    given = m.array(length, "int64") if length else ""
    check(m, m.node("DFT", "x0", given, m.array(axis, "int64"), onesided=1), "DFT")


@pytest.mark.parametrize("onesided", [None, 0, 1])
@pytest.mark.parametrize("size", [15, 16])
def test_transforms_of_frames(size: int, onesided: int | None) -> None:
    m = Model((2, 50, 1))
    more = {} if onesided is None else {"onesided": onesided}
    check(m, m.node("STFT", "x0", m.array(7, "int64"), m.array(np.hanning(size)), **more), "STFT")


@pytest.mark.parametrize("op", ["IsNaN", "IsInf"])
def test_what_is_no_number(op: str) -> None:
    m = Model((1, 4))
    wild = m.node("Add", "x0", m.array([np.nan, np.inf, -np.inf, 0.0]))
    check(m, m.node("Cast", m.node(op, wild), to=1), op)


def test_convolutions_over_volumes() -> None:
    m = Model((1, 2, 4, 5, 6))
    found = m.node("Conv", "x0", m.weight(3, 2, 3, 3, 3), pads=[1] * 6)
    graph = m.graph(found)
    spelled = spelled_out(graph)
    layers = [node for node in spelled.nodes if node.op == "Conv"]
    assert [spelled.constants[node.inputs[1]].ndim for node in layers] == [4]
    same(graph, spelled)


def test_parts_of_no_elements() -> None:
    m = Model((2, 6))
    parts = m.node("Split", "x0", m.array([4, 0, 2], "int64"), outputs=3, axis=1)
    m.opset = 17
    found = m.node("Concat", parts[2], m.node("Relu", parts[0]), axis=1)
    graph = m.graph(found)
    assert "Split" not in [node.op for node in spelled_out(graph).nodes]
    same(graph, spelled_out(graph))


def same(graph: Graph, found: Graph) -> None:
    """Both compute the same numbers."""
    sample = samples(graph, 1)[0]
    whole, parts = FloatSession(graph).run(sample), FloatSession(found).run(sample)
    for name in graph.outputs:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-5)


def check(m: Model, output: str, op: str, *, left: bool = False) -> None:
    """The numbers of the whole; with ``left`` the operator stays, of two tensors."""
    graph = m.graph(output)
    assert op in [node.op for node in graph.nodes]
    found = spelled_out(graph)
    assert all(left and len(node.inputs) == 2 for node in found.nodes if node.op == op)
    assert found.outputs == graph.outputs
    same(graph, found)


@pytest.mark.parametrize(
    ("offset", "scale"), [([1.0, -2.0, 300.0], [0.5, 2.0, 1e-3]), ([1.5], [0.25])]
)
def test_scalers_of_classical_learners(offset: list[float], scale: list[float]) -> None:
    """As a pipeline with ``StandardScaler`` begins."""
    weights = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    scaler = onnx.helper.make_node(
        "Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=offset, scale=scale
    )
    dense = onnx.helper.make_node("MatMul", ["scaled", "w"], ["y"])
    proto = onnx.helper.make_graph(
        [scaler, dense],
        "pipeline",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 1)]
    graph = import_model(onnx.helper.make_model(proto, opset_imports=opsets, ir_version=8))
    found = spelled_out(graph)
    assert "Scaler" not in [node.op for node in found.nodes]
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32) * 100
    whole, parts = FloatSession(graph).run({"x": x}), FloatSession(found).run({"x": x})
    np.testing.assert_allclose(parts["y"], whole["y"], rtol=1e-4, atol=1e-4)


COEFFICIENTS = [0.5, -1.0, 0.25, 1.0, 0.125, -0.5, -1.0, 2.0, 0.75]
LINEAR = {"coefficients": COEFFICIENTS, "intercepts": [0.1, -0.2, 0.3]}


@pytest.mark.parametrize(
    ("op", "attributes", "outputs"),
    [
        ("Normalizer", {"norm": "L1"}, ["scores"]),
        ("Normalizer", {"norm": "L2"}, ["scores"]),
        ("LinearRegressor", {**LINEAR, "targets": 3}, ["scores"]),
        *(
            ("LinearClassifier", {**LINEAR, "classlabels_ints": [4, 7, 9], **more}, outputs)
            for more in ({}, {"post_transform": "SOFTMAX"}, {"post_transform": "LOGISTIC"})
            for outputs in (["label", "scores"], ["scores"])
        ),
        ("LinearClassifier", {"coefficients": [1.0, 2.0, 3.0, -1.0, -2.0, -3.0]}, ["scores"]),
    ],
)
def test_linear_learners(op: str, attributes: dict[str, Any], outputs: list[str]) -> None:
    """As pipelines of scikit-learn end in; the last one is of two classes."""
    if op == "LinearClassifier":
        attributes = {"classlabels_ints": [0, 1], "intercepts": [0.5, -0.5]} | attributes
    names = ["label", "scores"] if op == "LinearClassifier" else ["scores"]
    node = onnx.helper.make_node(op, ["x"], names, domain="ai.onnx.ml", **attributes)
    kinds = {"label": (onnx.TensorProto.INT64, [1]), "scores": (onnx.TensorProto.FLOAT, None)}
    proto = onnx.helper.make_graph(
        [node],
        "pipeline",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])],
        [onnx.helper.make_tensor_value_info(name, *kinds[name]) for name in outputs],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 1)]
    graph = import_model(onnx.helper.make_model(proto, opset_imports=opsets, ir_version=8))
    found = spelled_out(graph)
    assert not any(node.domain for node in found.nodes if node.op != "Dense")
    assert found.outputs == graph.outputs
    x = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32) * 3
    for row in x:
        whole, parts = (FloatSession(g).run({"x": row[None]}) for g in (graph, found))
        for name in outputs:
            np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_masks_of_attention(bias: float, first: bool) -> None:
    m = Model((2, 3, 4, 4))
    mask = np.where(np.triu(np.ones((4, 4)), 1) > 0, -np.inf, bias)
    operands = (m.array(mask), "x0") if first else ("x0", m.array(mask))
    scores = m.node("Add", *operands)
    check(m, m.node("Softmax", scores, axis=-1), "Add", left=bool(bias))
