"""Operators spelled out: the same numbers as onnxruntime gives for the whole one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.spelled_out import spelled_out
from compiler_core.graph.session import FloatSession
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


def check(m: Model, output: str, op: str, *, left: bool = False) -> None:
    """The numbers of the whole; with ``left`` the operator stays, of two tensors."""
    graph = m.graph(output)
    assert op in [node.op for node in graph.nodes]
    found = spelled_out(graph)
    assert all(left and len(node.inputs) == 2 for node in found.nodes if node.op == op)
    assert found.outputs == graph.outputs
    sample = samples(graph, 1)[0]
    whole, parts = FloatSession(graph).run(sample), FloatSession(found).run(sample)
    for name in graph.outputs:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-5)


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
