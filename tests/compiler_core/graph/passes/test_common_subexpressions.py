"""What several nodes compute alike is computed once, and the model computes what it computed."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes import common_subexpressions
from compiler_core.graph.passes.common_subexpressions import CommonSubexpressions
from compiler_core.graph.passes.simplify import simplify
from tests.float_runs import run_float

UNARY, BINARY = ("Relu", "Sigmoid", "Neg", "Abs"), ("Add", "Mul", "Sub")
X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)


def graph_of(
    nodes: list[onnx.NodeProto], outputs: list[str], arrays: dict[str, np.ndarray]
) -> Graph:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, X.shape)],
        [value(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return import_model(made)


def plain_count(graph: Graph) -> int:
    """Different values of a graph of unary and binary operators, by their expressions."""
    told = {name: name for name in graph.inputs}
    told |= {name: str(array.tolist()) for name, array in graph.constants.items()}
    for node in graph.nodes:
        told[node.output] = f"{node.op}({', '.join(told[name] for name in node.inputs)})"
    return len({told[node.output] for node in graph.nodes})


STEPS = st.lists(
    st.tuples(st.sampled_from(UNARY + BINARY), st.integers(0, 20), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_graphs_compute_the_same_with_each_value_once(
    steps: list[tuple[str, int, int]], count: int
) -> None:
    arrays = {"c": np.float32([1, 2, 3, 4]), "d": np.float32([1, 2, 3, 4]), "e": np.zeros(4, "f4")}
    names, nodes = ["x", *arrays], []
    for at, (op, a, b) in enumerate(steps):
        inputs = [names[i % len(names)] for i in ((a,) if op in UNARY else (a, b))]
        nodes.append(helper.make_node(op, inputs, [f"t{at}"], f"n{at}"))
        names.append(f"t{at}")
    outputs = [node.output[0] for node in nodes][-count:]
    graph = graph_of(nodes, outputs, arrays)
    found = CommonSubexpressions().apply(graph)
    for name, expected in run_float(graph, {"x": X}).items():
        np.testing.assert_array_equal(run_float(found, {"x": X})[name], expected)
    # Two outputs of one value keep a node each; nothing else is there twice.
    assert len(found.nodes) < plain_count(graph) + count
    assert len(found.nodes) >= plain_count(found)
    if count == 1:
        assert len(found.nodes) == plain_count(graph) == plain_count(found)


def test_equal_weights_are_one_layer_and_others_are_not() -> None:
    random = np.random.default_rng(1)
    weight = random.standard_normal((4, 4)).astype(np.float32)
    arrays = {"a": weight, "b": weight.copy(), "c": weight + 1}
    nodes = [helper.make_node("MatMul", ["x", name], [f"y{name}"], name) for name in arrays]
    nodes.append(helper.make_node("Sum", ["ya", "yb", "yc"], ["y"], "sum"))
    graph = graph_of(nodes, ["y"], arrays)
    found = simplify(graph)
    assert [node.op for node in found.nodes].count("Dense") == 2
    expected = run_float(graph, {"x": X})["y"]
    np.testing.assert_allclose(run_float(found, {"x": X})["y"], expected, rtol=1e-6)


def test_chance_and_attributes_tell_nodes_apart() -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"], "r"),
        helper.make_node("RandomNormalLike", ["x"], ["s"], "s"),
        helper.make_node("LeakyRelu", ["x"], ["u"], "u", alpha=0.1),
        helper.make_node("LeakyRelu", ["x"], ["v"], "v", alpha=0.2),
        helper.make_node("LeakyRelu", ["x"], ["w"], "w", alpha=0.1),
        helper.make_node("Sum", ["r", "s", "u", "v", "w"], ["y"], "sum"),
    ]
    found = CommonSubexpressions().apply(graph_of(nodes, ["y"], {}))
    assert [node.name for node in found.nodes] == ["r", "s", "u", "v", "sum"]
    assert found.nodes[-1].inputs == ("r", "s", "u", "v", "u")
    assert CommonSubexpressions().apply(found) is found


def test_arrays_are_compared_a_few_times_each(monkeypatch: pytest.MonkeyPatch) -> None:
    count, looked_at = 300, 0
    content = common_subexpressions.content

    def counted(array: np.ndarray) -> Hashable:
        nonlocal looked_at
        looked_at += 1
        return content(array)

    monkeypatch.setattr(common_subexpressions, "content", counted)
    arrays = {f"c{at}": np.full(4, at % 200, np.float32) for at in range(count)}
    nodes = [helper.make_node("Add", ["x", f"c{at}"], [f"y{at}"]) for at in range(count)]
    graph = CommonSubexpressions().apply(graph_of(nodes, [f"y{at}" for at in range(count)], arrays))
    assert len(graph.nodes) == count, "the caller reads all of them"
    assert looked_at <= 3 * count
