"""Loops of a known number of times: the same numbers, as nodes that units see."""

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
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.unrolled_loops import UnrolledLoops
from compiler_core.graph.session import FloatSession

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, kind: int = FLOAT, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def loop_model(
    times: int | None, condition: str = "same", keep: bool = True, reads: str = "w"
) -> onnx.ModelProto:
    """Steps ``x = relu(x @ w) + number of the step``; each step's product is an output, too.

    Args:
        times: Constant; ``None`` where it is an input.
        condition: How the loop says that it goes on: ``same``, ``constant``, of the graph
            ``outside``, ``computed``.
        keep: Whether a condition is given.
        reads: The weights: of the graph outside, or of the body.
    """
    ends = {
        "same": [helper.make_node("Identity", ["cond"], ["goes"])],
        "constant": [
            helper.make_node(
                "Constant", [], ["goes"], value=numpy_helper.from_array(np.array(True))
            )
        ],
        "outside": [helper.make_node("Identity", ["true"], ["goes"])],
        "computed": [
            helper.make_node("ReduceMax", ["added"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "limit"], ["goes"]),
        ],
    }
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", reads], ["product"]),
            helper.make_node("Relu", ["product"], ["positive"]),
            helper.make_node("Cast", ["i"], ["number"], to=FLOAT),
            helper.make_node("Add", ["positive", "number"], ["added"]),
            *ends[condition],
        ],
        "body",
        [info("i", INT64, []), info("cond", BOOL, []), info("state", FLOAT, [2, 3])],
        [info("goes", BOOL, []), info("added", FLOAT, [2, 3]), info("product", FLOAT, [2, 3])],
        [numpy_helper.from_array(weights(1), "own")],
    )
    arrays = {"w": weights(0), "limit": np.float32(3.0), "true": np.array(True)}
    inputs = [info("x", FLOAT, [2, 3])]
    if times is None:
        inputs.append(info("times", INT64, []))
    else:
        arrays["times"] = np.array(times, np.int64)
    node = helper.make_node(
        "Loop", ["times", "true" if keep else "", "x"], ["last", "rows"], name="loop", body=body
    )
    graph = helper.make_graph(
        [node, helper.make_node("Neg", ["last"], ["y"])],
        "loops",
        inputs,
        [info("y"), info("rows")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def weights(seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.6, (3, 3)).astype(np.float32)


def same(whole: Graph, parts: Graph, **feeds: Any) -> None:
    wanted, found = (FloatSession(graph).run(feeds) for graph in (whole, parts))
    for name in whole.outputs:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


X = np.random.default_rng(2).normal(size=(2, 3)).astype(np.float32)


@pytest.mark.parametrize("condition", ["same", "constant", "outside"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("reads", ["w", "own"])
def test_a_loop_is_its_nodes(condition: str, keep: bool, reads: str) -> None:
    whole = import_model(loop_model(4, condition, keep, reads))
    parts = simplify(whole)
    assert "Loop" not in [node.op for node in parts.nodes]
    assert sum(node.op in ("MatMul", "Dense") for node in parts.nodes) == 4
    assert parts.outputs == whole.outputs
    same(whole, parts, x=X)


def test_the_number_of_the_time_has_an_axis_where_the_body_says_so() -> None:
    """As TorchScript writes the cutting of a tensor into parts."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        m (float[2,6] x) => (float[2,b] y)
        <int64 times = {2}, bool true = {1}, int64[2] starts = {0, 3}, int64[2] ends = {2, 6},
         int64[1] axis = {1}> {
            empty = SequenceEmpty ()
            parts = Loop <body = cut (int64[1] i, bool goes, seq(float[]) before)
                => (bool goes_on, seq(float[]) after) {
                goes_on = Identity (true)
                a = Gather (starts, i)
                b = Gather (ends, i)
                part = Slice (x, a, b, axis)
                after = SequenceInsert (before, part)
            }> (times, true, empty)
            y = ConcatFromSequence <axis = 1> (parts)
        }"""
    )
    whole = import_model(model)
    parts = simplify(whole)
    assert {node.op for node in parts.nodes} == {"Slice", "Concat"}
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(FloatSession(parts).run({"x": x})["y"], x[:, [0, 1, 3, 4, 5]])


@pytest.mark.parametrize("times", [0, None, 1000])
def test_loops_that_stay(times: int | None) -> None:
    whole = import_model(loop_model(times))
    assert UnrolledLoops().apply(whole) is whole


def test_a_loop_with_a_computed_end_stays() -> None:
    whole = import_model(loop_model(4, "computed"))
    assert UnrolledLoops().apply(whole) is whole


def counting(times: str, limit: int) -> Graph:
    """A loop as TensorFlow writes it: it goes on while both numbers of the time are small."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        m (float[2,3] x, int64 steps) => (float[2,3] y, float[k,2,3] rows)
        <int64 most = {9}, int32 first = {0}, int32 one = {1}, bool true = {1},
         int32 limit = {LIMIT}> {
            last, y, rows = Loop <body = times (int64 i, bool goes, int32 count, float[2,3] before)
                => (bool goes_on, int32 next, float[2,3] after, float[2,3] row) {
                next = Add (count, one)
                number = Cast <to = 6> (i)
                few = Less (number, limit)
                fewer = Less (next, limit)
                goes_on = And (few, fewer)
                after = Sin (before)
                row = Neg (after)
            }> (TIMES, true, first, x)
        }""".replace("TIMES", times).replace("LIMIT", str(limit))
    )
    return import_model(model)


@pytest.mark.parametrize(("times", "limit"), [("most", 3), ("", 5), ("most", 30), ("steps", 4)])
def test_a_loop_with_a_counted_end_is_its_nodes(times: str, limit: int) -> None:
    whole = counting(times, limit)
    if times == "steps":  # it may end before
        assert UnrolledLoops().apply(whole) is whole
        return
    parts = simplify(whole)
    assert "Loop" not in [node.op for node in parts.nodes]
    assert sum(node.op == "Sin" for node in parts.nodes) == min(limit, 9)
    same(whole, parts, x=X, steps=np.array(0))


def test_a_loop_that_ends_late_stays() -> None:
    whole = counting("", 100_000)
    assert UnrolledLoops().apply(whole) is whole


def test_loops_of_many_nodes_stay() -> None:
    whole = import_model(loop_model(4))
    assert UnrolledLoops(most_nodes=10).apply(whole) is whole
    assert UnrolledLoops(most_nodes=100).apply(whole) is not whole


def scan_model(
    axes: tuple[int, int],
    ways: tuple[int, int],
    out: tuple[int, int],
    names: tuple[str, str, str] = ("", "", ""),
) -> Graph:
    """Running sums of the products of two sequences' parts; ``names`` are those of the nodes."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["p", "q"], ["product"], name=names[0]),
            helper.make_node("Add", ["state", "product"], ["next"], name=names[1]),
            helper.make_node("Identity", ["next"], ["row"], name=names[2]),
        ],
        "body",
        [info(name, FLOAT, [4]) for name in ("state", "p", "q")],
        [info(name, FLOAT, [4]) for name in ("next", "row")],
    )
    node = helper.make_node(
        "Scan",
        ["s", "a", "b"],
        ["last", "rows"],
        name="scan",
        body=body,
        num_scan_inputs=2,
        scan_input_axes=list(axes),
        scan_input_directions=list(ways),
        scan_output_axes=[out[0]],
        scan_output_directions=[out[1]],
    )
    shapes = {n: [5, 4] if axis in (0, -2) else [4, 5] for n, axis in zip("ab", axes, strict=True)}
    graph = helper.make_graph(
        [node],
        "scans",
        [info("s", FLOAT, [4]), *(info(name, FLOAT, shape) for name, shape in shapes.items())],
        [info("last"), info("rows")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return import_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))


@settings(max_examples=12, deadline=None)
@given(
    axes=st.tuples(st.sampled_from([0, 1, -1]), st.sampled_from([0, 1])),
    ways=st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])),
    out=st.tuples(st.sampled_from([0, 1, -1]), st.sampled_from([0, 1])),
)
def test_a_scan_is_its_nodes(
    axes: tuple[int, int], ways: tuple[int, int], out: tuple[int, int]
) -> None:
    whole = scan_model(axes, ways, out)
    parts = simplify(whole)
    assert "Scan" not in [node.op for node in parts.nodes]
    random = np.random.default_rng(3)
    feeds = {n: random.normal(size=whole.types[n].shape).astype(np.float32) for n in whole.inputs}
    same(whole, parts, **feeds)


def nested(outer_times: int, inner_times: int) -> Graph:
    """A loop within which another one runs."""
    counts = {"two": inner_times, "three": outer_times}
    inner = helper.make_graph(
        [
            helper.make_node("Add", ["v", "step"], ["v_out"]),
            helper.make_node("Identity", ["c"], ["c_out"]),
        ],
        "inner",
        [info("j", INT64, []), info("c", BOOL, []), info("v", FLOAT, [2])],
        [info("c_out", BOOL, []), info("v_out", FLOAT, [2])],
    )
    outer = helper.make_graph(
        [
            helper.make_node("Mul", ["u", "u"], ["step"]),
            helper.make_node("Loop", ["two", "", "u"], ["u_out"], name="inner", body=inner),
            helper.make_node("Identity", ["d"], ["d_out"]),
        ],
        "outer",
        [info("i", INT64, []), info("d", BOOL, []), info("u", FLOAT, [2])],
        [info("d_out", BOOL, []), info("u_out", FLOAT, [2])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["three", "", "x"], ["y"], name="outer", body=outer)],
        "nested",
        [info("x", FLOAT, [2])],
        [info("y", FLOAT, [2])],
        [
            numpy_helper.from_array(np.array(count, np.int64), name)
            for name, count in counts.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    return import_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def test_nodes_may_be_called_as_what_they_read() -> None:
    whole = scan_model((0, 0), (0, 0), (0, 0), names=("p", "q", "row"))
    parts = simplify(whole)
    names = [node.name for node in parts.nodes]
    assert len(names) == len(set(names))
    ones = {name: np.ones(whole.types[name].shape, np.float32) for name in whole.inputs}
    same(whole, parts, **ones)


def test_a_loop_within_a_loop() -> None:
    whole = nested(3, 2)
    parts = simplify(whole)
    assert "Loop" not in [node.op for node in parts.nodes]
    same(whole, parts, x=np.array([0.1, -0.3], np.float32))


def test_loops_within_loops_do_not_multiply() -> None:
    passed = UnrolledLoops(most_times=20, most_nodes=40)
    graph = nested(8, 20)
    for _ in range(10):
        graph = passed.apply(graph)
    assert len(graph.nodes) <= 4 * 40 + 40
    assert "Loop" in [node.op for node in graph.nodes]
