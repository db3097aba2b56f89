"""Models in float64 for whoever has float32 alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.double_precision import DoublesToFloat, has_doubles
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.for_sources import graph_for_sources


def doubles(*, inner: bool) -> Graph:
    """A dense layer in float64; with ports of float32 around where ``inner``."""
    kind = TensorProto.FLOAT if inner else TensorProto.DOUBLE
    random = np.random.default_rng(0)
    arrays = [
        numpy_helper.from_array(random.normal(0, 1, (4, 3)), "w"),
        numpy_helper.from_array(np.array([1e300]), "most"),
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Min", ["b", "most"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=kind),
    ]
    graph = helper.make_graph(
        nodes,
        "doubles",
        [helper.make_tensor_value_info("x", kind, [2, 4])],
        [helper.make_tensor_value_info("y", kind, [2, 3])],
        arrays,
    )
    opset = [helper.make_opsetid("", 17)]
    return simplify(import_model(helper.make_model(graph, opset_imports=opset, ir_version=8)))


def test_all_is_float32_afterwards() -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 4))
    for inner in (False, True):
        graph = doubles(inner=inner)
        assert has_doubles(graph)
        flat = DoublesToFloat().apply(graph)
        assert not has_doubles(flat)
        (wanted,) = (
            FloatSession(graph).run({"x": x.astype(np.float32 if inner else x.dtype)}).values()
        )
        (found,) = FloatSession(flat).run({"x": x.astype(np.float32)}).values()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_behind_loops_too() -> None:
    """A loop holds everything back until it is written out."""
    info, double = helper.make_tensor_value_info, TensorProto.DOUBLE
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["state"], ["same"]),
            helper.make_node("Sub", ["state", "row"], ["apart"]),
            helper.make_node("ReduceSumSquare", ["apart"], ["out"], axes=[1], keepdims=0),
        ],
        "body",
        [info("state", double, None), info("row", double, None)],
        [info("same", double, None), info("out", double, None)],
    )
    rows = np.random.default_rng(2).normal(0, 1, (300, 4))
    nodes = [
        helper.make_node("Scan", ["x", "rows"], ["last", "d"], body=body, num_scan_inputs=1),
        helper.make_node("Gather", ["d", "some"], ["y"], axis=0),
    ]
    arrays = [numpy_helper.from_array(rows, "rows")]
    arrays.append(numpy_helper.from_array(np.array([3, 299]), "some"))
    ports = [info("x", double, [1, 4])], [info("y", double, [2, 1])]
    graph = helper.make_graph(nodes, "loop", *ports, arrays)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    known = simplify(import_model(model))
    flat = graph_for_sources(known)
    assert not has_doubles(flat)
    x = np.random.default_rng(3).normal(0, 1, (1, 4))
    (wanted,) = FloatSession(known).run({"x": x}).values()
    (found,) = FloatSession(flat).run({"x": x.astype(np.float32)}).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_others_stay_as_they_are() -> None:
    flat = DoublesToFloat().apply(doubles(inner=False))
    assert DoublesToFloat().apply(flat) is flat


@pytest.mark.parametrize(("called", "kind"), [("", "float32"), ("own", "float64")])
def test_functions_count_where_they_are_called(called: str, kind: str) -> None:
    known = TensorType("float64", (1, 4))
    function = helper.make_function("own", "Twice", ["a"], ["b"], [], [])
    node = Node("n", "Twice" if called else "Neg", ("x",), ("y",), {}, called)
    graph = Graph(
        name="m",
        inputs=("x",),
        outputs=("y",),
        nodes=(node,),
        constants={},
        types={"x": known, "y": known},
        opsets={"": 17, "own": 1},
        functions=(function.SerializeToString(),),
    )
    assert DoublesToFloat().apply(graph).types["y"].dtype == kind
