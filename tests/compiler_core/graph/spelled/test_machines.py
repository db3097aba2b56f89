"""Support vector machines and encoders: the runtime's labels and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles.bundle import expected
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options

COLUMNS = 3
KINDS = {"LINEAR", "POLY", "RBF", "SIGMOID"}


def learner(
    op: str, outputs: dict[str, int], kind: int = TensorProto.FLOAT, **attributes: Any
) -> onnx.ModelProto:
    """A node of classical learners over rows of numbers."""
    node = helper.make_node(op, ["x"], [*outputs], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node],
        "learner",
        [helper.make_tensor_value_info("x", kind, [1, COLUMNS])],
        [helper.make_tensor_value_info(name, of, None) for name, of in outputs.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def check(model: onnx.ModelProto, rows: Any) -> None:
    graph = simplify(import_model(model))
    found = spelled_out(graph)
    assert not [node.op for node in found.nodes if node.domain == "ai.onnx.ml"]
    whole, parts = FloatSession(graph), FloatSession(found)
    for row in rows:
        wanted, given = whole.run({"x": row[None]}), parts.run({"x": row[None]})
        for name in graph.outputs:
            np.testing.assert_allclose(given[name], wanted[name], rtol=1e-4, atol=1e-4)


def machine(kind: str, vectors: int, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(vectors)
    return {
        "kernel_type": kind,
        "kernel_params": [0.4, 0.2, 2.0],
        "support_vectors": random.normal(5, 1, vectors * COLUMNS).tolist(),
        "coefficients": random.normal(size=rows * vectors).tolist(),
    }


ROWS = np.random.default_rng(9).normal(5, 1.5, (12, COLUMNS)).astype(np.float32)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("after", ["NONE", "LOGISTIC"])
@pytest.mark.parametrize("sizes", [[4, 3], [3, 5, 2], [2, 2, 3, 4]])
def test_classes_of_pairs(kind: str, after: str, sizes: list[int]) -> None:
    classes = len(sizes)
    rho = np.random.default_rng(1).normal(0, 0.3, classes * (classes - 1) // 2)
    more = {"rho": rho.tolist(), "vectors_per_class": sizes, "post_transform": after}
    labels = {"classlabels_ints": [7, 3, 11, 5][:classes]}
    outputs = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
    known = machine(kind, sum(sizes), classes - 1)
    check(learner("SVMClassifier", outputs, **known, **more, **labels), ROWS)


@pytest.mark.parametrize("one", [0, 1])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sums_of_kernels(kind: str, one: int) -> None:
    more = {"n_supports": 6, "rho": [-0.4], "one_class": one}
    known = machine(kind, 6, 1)
    check(learner("SVMRegressor", {"y": TensorProto.FLOAT}, **known, **more), ROWS)


def likely(kind: str, sizes: list[int]) -> onnx.ModelProto:
    """A machine that makes probabilities."""
    random, classes = np.random.default_rng(2), len(sizes)
    pairs = classes * (classes - 1) // 2
    known = machine(kind, sum(sizes), classes - 1) | {"vectors_per_class": sizes}
    known |= {
        "rho": random.normal(0, 0.3, pairs).tolist(),
        "classlabels_ints": [7, 3, 5, *range(8, 5 + classes)][:classes],
    }
    known |= {"prob_a": random.uniform(-2, -1, pairs).tolist()}
    known |= {"prob_b": random.normal(0, 0.2, pairs).tolist()}
    outputs = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
    return learner("SVMClassifier", outputs, **known)


@pytest.mark.parametrize("kind", ["LINEAR", "RBF"])
@pytest.mark.parametrize("sizes", [[4, 3], [3, 5, 2]])
def test_probabilities_of_decisions(kind: str, sizes: list[int]) -> None:
    graph = simplify(import_model(likely(kind, sizes)))
    flat = spelled_out(graph)
    assert spelled_out(flat) is flat
    net = to_network(flat, {}, Options(precision="float32"))
    for row in ROWS:
        feeds = {"x": row[None]}
        wanted = FloatSession(graph).run(feeds)
        given = FloatSession(flat).run(feeds)
        _, found = expected(net, feeds)
        for name, value, array in zip(graph.outputs, net.outputs, found, strict=True):
            np.testing.assert_allclose(given[name], wanted[name], rtol=1e-3, atol=2e-4)
            real = net.real(value, array).reshape(wanted[name].shape)
            np.testing.assert_allclose(real, wanted[name], rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("missing", [np.nan, -1.0, np.inf])
@pytest.mark.parametrize("filled", [[0.5], [0.5, -2.0, 7.0]])
def test_missing_numbers(missing: float, filled: list[float]) -> None:
    rows = ROWS.copy()
    rows[::2, 1] = missing
    known = {"imputed_value_floats": filled, "replaced_value_float": missing}
    check(learner("Imputer", {"y": TensorProto.FLOAT}, **known), rows)


@pytest.mark.parametrize("of", ["int64s", "floats"])
def test_tables_of_whole_numbers(of: str) -> None:
    known: dict[str, Any] = {"keys_int64s": [4, -2, 9], f"values_{of}": [1, 2, 3]}
    known |= {"default_int64": 8} if of == "int64s" else {"default_float": 0.25}
    if of == "floats":
        known["values_floats"] = [1.5, 2.5, 3.5]
    kind = TensorProto.INT64 if of == "int64s" else TensorProto.FLOAT
    rows = np.array([[4, -2, 9], [-3, 10, 0], [5, 1 << 20, -(1 << 20)]], np.int64)
    check(learner("LabelEncoder", {"y": kind}, TensorProto.INT64, **known), rows)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.FLOAT])
def test_categories(kind: int) -> None:
    rows = np.array([[4, -2, 9], [3, 9, 4]], np.int64 if kind == TensorProto.INT64 else np.float32)
    known = {"cats_int64s": [4, -2, 9], "zeros": 1}
    check(learner("OneHotEncoder", {"y": TensorProto.FLOAT}, kind, **known), rows)


def test_large_sums_of_linear_kernels_leave_what_they_leave() -> None:
    """Against double precision: their terms are a million times the result."""
    random = np.random.default_rng(3)
    vectors = random.normal(1000, 300, (60, COLUMNS))
    factors = random.normal(0, 100, 60)
    factors -= vectors @ np.linalg.lstsq(vectors, factors, rcond=None)[0]
    known = {"kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 0.0]}
    known |= {"support_vectors": vectors.ravel().tolist(), "coefficients": factors.tolist()}
    more = {"n_supports": 60, "rho": [0.5]}
    model = learner("SVMRegressor", {"y": TensorProto.FLOAT}, **known, **more)
    found = FloatSession(spelled_out(simplify(import_model(model))))
    rows = random.normal(1000, 300, (8, COLUMNS)).astype(np.float32)
    held = [np.float32(part).astype(np.float64) for part in (vectors, factors)]
    wanted = rows.astype(np.float64) @ (held[0].T @ held[1]) + 0.5
    given = np.concatenate([found.run({"x": row[None]})["y"].ravel() for row in rows])
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_probabilities_of_many_classes_are_not_written() -> None:
    flat = spelled_out(simplify(import_model(likely("RBF", [1] * 33))))
    with pytest.raises(InputError, match=r"has 33 classes; probabilities of 32 are written"):
        to_network(flat, {}, Options(precision="float32"))
