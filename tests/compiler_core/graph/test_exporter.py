from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.extract import cut, extract
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.text import graph_digest
from tests.float_runs import run_float

Build = Callable[..., Graph]

NETWORK = """(float[N,2,4,4] x) => (float y) {
    a = Conv(x, w)
    b = Relu(a)
    d = GlobalAveragePool(b)
    e = Flatten(d)
    y = Gemm(e, v, u)
}"""
WEIGHTS = {
    "w": np.array([[[[1.0]], [[-2.0]]], [[[3.0]], [[0.5]]]], np.float32),
    "v": np.arange(6, dtype=np.float32).reshape(2, 3),
    "u": np.ones(3, np.float32),
}
X = np.random.default_rng(3).standard_normal((5, 2, 4, 4)).astype(np.float32)


@pytest.fixture
def network(graph_of: Build) -> Graph:
    return graph_of(NETWORK, **WEIGHTS)


def test_export_is_valid_onnx_with_a_symbolic_batch(network: Graph) -> None:
    simple = simplify(network)
    model = export_onnx(simple)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [node.op_type for node in model.graph.node] == [
        "Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm",
    ]  # fmt: skip
    again = import_model(model)
    np.testing.assert_array_equal(run_float(again, {"x": X})["y"], run_float(simple, {"x": X})["y"])


def test_import_of_an_export_is_the_same_graph(network: Graph) -> None:
    again = import_model(export_onnx(network))
    assert graph_digest(again) == graph_digest(network)


@pytest.mark.parametrize(
    ("clip", "ops"),
    [
        ((0.0, math.inf), ["Mul", "Relu"]),
        ((0.0, 6.0), ["Mul", "Clip"]),
        ((-math.inf, 0.5), ["Mul", "Clip"]),
        ((-1.0, math.inf), ["Mul", "Clip"]),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "opset"), [("float32", 7), ("float32", 17), ("float16", 17), ("float64", 17)]
)
def test_clamps(
    graph_of: Build, clip: tuple[float, float], ops: list[str], dtype: str, opset: int
) -> None:
    name = {"float32": "float", "float16": "float16", "float64": "double"}[dtype]
    graph = graph_of(f"({name}[N,3] x) => ({name} y) {{ y = Mul(x, x) }}", 17)
    graph = replace(graph, nodes=(replace(graph.nodes[0], clip=clip),), opsets={"": opset})
    assert [node.op_type for node in export_onnx(graph).graph.node] == ops
    x = np.linspace(-2, 3, 12).reshape(4, 3).astype(dtype)
    np.testing.assert_array_equal(run_float(graph, {"x": x})["y"], np.clip(x * x, *clip))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (4, 2, 2, 3)])
def test_dense_of_any_rank(graph_of: Build, shape: tuple[int, ...], bias: bool) -> None:
    dims = ",".join(["N", *map(str, shape[1:])])
    last = "Add(a, b)" if bias else "Neg(a)"
    text = f"(float[{dims}] x) => (float y) {{ a = MatMul(x, w) y = {last} }}"
    weights = {"w": np.arange(6, dtype=np.float32).reshape(3, 2)}
    if bias:
        weights["b"] = np.array([0.5, -1], np.float32)
    graph = simplify(graph_of(text, **weights))
    assert graph.nodes[0].op == "Dense"
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    want = x @ weights["w"] + weights["b"] if bias else -(x @ weights["w"])
    np.testing.assert_allclose(run_float(graph, {"x": x})["y"], want, atol=1e-6)


def test_extract_derives_inputs_outputs_and_constants(network: Graph) -> None:
    part = extract(network, network.nodes[1:4])
    assert (part.inputs, part.outputs) == (("a",), ("e",))
    assert part.constants == {}
    assert part.dynamic_batch == {"a", "b", "d", "e"}
    head = extract(network, [network.nodes[0], network.nodes[4]])
    assert (head.inputs, head.outputs) == (("x", "e"), ("a", "y"))
    assert set(head.constants) == {"w", "v", "u"}
    a = run_float(network, {"x": X}, ["a"])["a"]
    e = run_float(part, {"a": a})["e"]
    whole = run_float(network, {"x": X}, ["y", "e"])
    np.testing.assert_array_equal(e, whole["e"])
    np.testing.assert_array_equal(run_float(head, {"x": X, "e": e})["y"], whole["y"])


def test_extracted_parts_keep_what_subgraphs_read(
    onnx_model: Callable[..., onnx.ModelProto],
) -> None:
    model = onnx_model("""(float[1,2] x, bool c) => (float y) {
        k = Exp(x)
        y = If (c) <
            then_branch = t () => (float[1,2] r) { r = Neg(k) },
            else_branch = e () => (float[1,2] s) { s = Abs(x) }
        >
    }""")
    graph = import_model(model)
    part = extract(graph, graph.nodes[1:])
    assert set(part.inputs) == {"c", "k", "x"}
    assert extract(graph, graph.nodes[:1]).outputs == ("k",)


def test_cut_between_tensors(network: Graph) -> None:
    part = cut(network, inputs=["b"], outputs=["e"])
    assert [node.output for node in part.nodes] == ["d", "e"]
    model = export_onnx(network, inputs=["b"], outputs=["e"])
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(InputError, match="needs graph input 'x', which is not fed"):
        cut(network, inputs=["d"], outputs=["b"])
    with pytest.raises(InputError, match="no tensor 'nope'"):
        cut(network, outputs=["nope"])


def test_session_fetches_any_tensor_of_any_batch(network: Graph) -> None:
    session = FloatSession(network, ["a", "d", "y", "x", "w"], threads=2)
    result = session.run({"x": X})
    assert {name: array.shape for name, array in result.items()} == {
        "a": (5, 2, 4, 4), "d": (5, 2, 1, 1), "y": (5, 3), "x": (5, 2, 4, 4), "w": (2, 2, 1, 1),
    }  # fmt: skip
    np.testing.assert_allclose(
        result["a"], np.einsum("nihw,oi->nohw", X, WEIGHTS["w"][:, :, 0, 0]), atol=1e-5
    )


def test_samples_of_a_batch_can_be_kept_apart(network: Graph) -> None:
    session = FloatSession(network)
    single = np.concatenate([session.run({"x": X[i : i + 1]})["y"] for i in range(len(X))])
    np.testing.assert_array_equal(session.run({"x": X}, sample_wise=True)["y"], single)


def test_a_fixed_batch_runs_sample_by_sample(graph_of: Build) -> None:
    fixed = graph_of(NETWORK.replace("N,", "1,"), **WEIGHTS)
    free = graph_of(NETWORK, **WEIGHTS)
    assert fixed.dynamic_batch == frozenset()
    want = FloatSession(free).run({"x": X}, sample_wise=True)["y"]
    np.testing.assert_array_equal(FloatSession(fixed).run({"x": X})["y"], want)


def test_wrong_feeds(network: Graph) -> None:
    session = FloatSession(network)
    with pytest.raises(InputError, match="input 'x' is missing; given: none"):
        session.run({})
    with pytest.raises(InputError, match=r"onnxruntime refuses the inputs: .*x"):
        session.run({"x": X[:, :1]})
    with pytest.raises(InputError, match=r"onnxruntime refuses the inputs: .*float"):
        session.run({"x": X.astype(np.float64)})


def test_graphs_that_onnxruntime_cannot_run(graph_of: Build) -> None:
    graph = graph_of("(float[1] x) => (float y) { y = Relu(x) }")
    node = replace(graph.nodes[0], op="Nonsense", domain="unknown.domain")
    with pytest.raises(InputError, match="onnxruntime cannot run graph 'g'"):
        FloatSession(replace(graph, nodes=(node,), opsets={"": 17, "unknown.domain": 1}))
