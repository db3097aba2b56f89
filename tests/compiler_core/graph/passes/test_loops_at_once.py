"""Loops that keep nothing: the same function, computed at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.loops_at_once import LoopsAtOnce
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

FLOAT = TensorProto.FLOAT
COLUMNS = 3


def scan(nodes: list[onnx.NodeProto], rows: int, **more: Any) -> Graph:
    """A Scan over constant rows, whose state is ``x`` and stays; it gives ``out`` each time."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["state"], ["same"]), *nodes],
        "body",
        [info("state", FLOAT, None), info("row", FLOAT, None)],
        [info("same", FLOAT, None), info("out", FLOAT, None)],
    )
    array = np.random.default_rng(0).normal(0, 1, (rows, COLUMNS)).astype(np.float32)
    if more.get("scan_input_axes") == [1]:
        array = np.ascontiguousarray(array.T)
    node = helper.make_node(
        "Scan", ["x", "rows"], ["last", "y"], body=body, num_scan_inputs=1, **more
    )
    graph = helper.make_graph(
        [node],
        "scan",
        [info("x", FLOAT, [2, COLUMNS])],
        [info("y", FLOAT, None), info("last", FLOAT, None)],
        [numpy_helper.from_array(array, "rows")],
    )
    opset = [helper.make_opsetid("", 17)]
    return simplify(import_model(helper.make_model(graph, opset_imports=opset, ir_version=8)))


def distances(op: str = "ReduceSumSquare", **more: Any) -> list[onnx.NodeProto]:
    apart = helper.make_node("Sub", ["state", "row"], ["apart"])
    return [apart, helper.make_node(op, ["apart"], ["out"], **more)]


def check(graph: Graph) -> None:
    found = simplify(LoopsAtOnce().apply(graph))
    assert not [node for node in found.nodes if node.op in ("Loop", "Scan")]
    x = np.random.default_rng(1).normal(0, 1, (2, COLUMNS)).astype(np.float32)
    wanted, given = FloatSession(graph).run({"x": x}), FloatSession(found).run({"x": x})
    for name in graph.outputs:
        assert given[name].shape == wanted[name].shape
        np.testing.assert_allclose(given[name], wanted[name], rtol=1e-5, atol=1e-6)


@settings(max_examples=25)
@given(st.data())
def test_distances_of_all_rows(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(["ReduceSumSquare", "ReduceMax", "ReduceL1", "ReduceSum"]))
    axes = data.draw(st.sampled_from([[1], [-1], [0], [0, 1], None]))
    keep = data.draw(st.integers(0, 1))
    nodes = distances("ReduceSumSquare" if op == "ReduceSum" else op, keepdims=keep)
    if axes is not None:
        nodes[-1].attribute.append(helper.make_attribute("axes", axes))
    rank = 2 if keep else 0 if axes is None else 2 - len(axes)
    more = {
        "scan_input_directions": [data.draw(st.integers(0, 1))],
        "scan_output_directions": [data.draw(st.integers(0, 1))],
        "scan_output_axes": [data.draw(st.integers(0, rank))],
        "scan_input_axes": [data.draw(st.integers(0, 1))],
    }
    check(scan(nodes, data.draw(st.integers(65, 300)), **more))


def test_functions_in_between() -> None:
    nodes = [
        helper.make_node("Sub", ["state", "row"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["size"]),
        helper.make_node("ReduceSum", ["size"], ["total"], keepdims=0),
        helper.make_node("Add", ["total", "row"], ["sum"]),
        helper.make_node("Exp", ["sum"], ["out"]),
    ]
    check(scan(nodes, 80))


def test_loops_that_look_farther_stay() -> None:
    graph = scan([helper.make_node("Softmax", ["row"], ["out"])], 70)
    assert LoopsAtOnce().apply(graph) is graph


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("shape", [[], [1]])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_one_number_each_time(op: str, shape: list[int], opset: int) -> None:
    """The number of the time, which has the axes that the body says."""
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Identity", ["goes"], ["on"]),
        helper.make_node("Cast", ["time"], ["number"], to=FLOAT),
        helper.make_node(op, ["number"], ["one"], keepdims=0),
        helper.make_node("Mul", ["number", "x"], ["row"]),
        helper.make_node("Add", ["one", "row"], ["out"]),
    ]
    given = [info("time", TensorProto.INT64, shape), info("goes", TensorProto.BOOL, [])]
    results = [info("on", TensorProto.BOOL, None), *(info(n, FLOAT, None) for n in ("out", "one"))]
    body = helper.make_graph(nodes, "body", given, results)
    times = [numpy_helper.from_array(np.array(n), k) for k, n in (("most", 70), ("true", True))]
    loop = helper.make_node("Loop", ["most", "true"], ["y", "z"], body=body)
    outputs = [info(name, FLOAT, None) for name in ("y", "z")]
    graph = helper.make_graph([loop], "loop", [info("x", FLOAT, [2, COLUMNS])], outputs, times)
    opsets = [helper.make_opsetid("", opset)]
    check(simplify(import_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))))
