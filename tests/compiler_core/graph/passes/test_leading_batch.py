"""Sequence-first attention for one sample: a batch of one stays in front, factors go into
weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.identities import Identities
from compiler_core.graph.passes.leading_batch import LeadingBatch
from compiler_core.graph.passes.reshape_merging import ReshapeMerging
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from tests.compiler_core.graph.passes.arrays import i64, ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]
PASSES = (LeadingBatch(), ReshapeMerging(), Identities(), DeadCode())


def attention(
    tokens: int,
    heads: int,
    width: int,
    *,
    batch: int | str = 1,
    scale: str = "q",
    flat: bool = True,
) -> onnx.ModelProto:
    """As sequence-first modules compute it: ``[batch, tokens, features]``, tokens first within,
    heads side by side as the first axis where they are ``flat``."""
    features = heads * width
    random = np.random.default_rng(tokens)
    constants: dict[str, np.ndarray] = {
        **{
            f"w{n}": random.standard_normal((features, features)).astype(np.float32) for n in "qkvo"
        },
        "split": np.array([tokens, -1, width], np.int64),
        "apart": np.array([-1, heads, tokens, width], np.int64),
        "side": np.array([-1, tokens, width], np.int64),
        "rows": np.array([-1, features], np.int64),
        "back": np.array([tokens, -1, features], np.int64),
        "s": np.array(0.5, np.float32),
    }
    node = helper.make_node
    nodes = [node("Transpose", ["x"], ["t"], perm=(1, 0, 2))]
    for n in "qkv":
        nodes += [
            node("MatMul", ["t", f"w{n}"], [f"{n}1"]),
            node("Reshape", [f"{n}1", "split"], [f"{n}2"]),
            node("Transpose", [f"{n}2"], [f"{n}3"], perm=(1, 0, 2)),
            node("Identity", [f"{n}3"], [f"{n}4"])
            if flat
            else node("Reshape", [f"{n}3", "apart"], [f"{n}4"]),
        ]
    turned = (0, 2, 1) if flat else (0, 1, 3, 2)
    merged = (1, 0, 2) if flat else (2, 0, 1, 3)
    nodes += [
        node("Transpose", ["k4"], ["k5"], perm=turned),
        node("Mul", ["s", "q4"], ["q5"]) if scale == "q" else node("Identity", ["q4"], ["q5"]),
        node("MatMul", ["q5", "k5"], ["a"]),
        node("Div", ["a", "s"], ["b"]) if scale == "scores" else node("Identity", ["a"], ["b"]),
        node("Softmax", ["b"], ["c"], axis=-1),
        node("MatMul", ["c", "v4"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=merged),
        node("Reshape", ["e", "rows"], ["f"]),
        node("MatMul", ["f", "wo"], ["g"]),
        node("Reshape", ["g", "back"], ["h"]),
        node("Transpose", ["h"], ["i"], perm=(1, 0, 2)),
        node("Add", ["i", "x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, tokens, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@settings(deadline=None, max_examples=25)
@given(
    tokens=st.integers(1, 5),
    heads=st.integers(1, 3),
    width=st.sampled_from([2, 16]),
    batch=st.sampled_from([1, 2, "n"]),
    scale=st.sampled_from(["q", "scores", ""]),
    flat=st.booleans(),
)
def test_computes_the_same(
    tokens: int, heads: int, width: int, batch: int | str, scale: str, flat: bool
) -> None:
    model = attention(tokens, heads, width, batch=batch, scale=scale, flat=flat)
    size = batch if isinstance(batch, int) else 1
    x = np.random.default_rng(0).standard_normal((size, tokens, heads * width)).astype(np.float32)
    wanted = FloatSession(import_model(model)).run({"x": x})["y"]
    found = FloatSession(simplify(import_model(model))).run({"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("scale", ["q", "scores"])
def test_leaves_one_sample_of_attention_views_alone(
    flat: bool, batch: int | str, scale: str
) -> None:
    graph = simplify(import_model(attention(12, 4, 16, batch=batch, scale=scale, flat=flat)))
    operators = sorted(n.op for n in graph.nodes if n.op not in ("Reshape", "Transpose"))
    assert operators == ["Add", *["Dense"] * 4, *["MatMul"] * 2, "Softmax"]
    for node in graph.nodes:
        assert all((graph.types[name].shape or ())[0] == 1 for name in node.outputs), node
        assert node.op != "Transpose" or node.attributes["perm"][0] == 0


def test_keeps_what_mixes_two_samples() -> None:
    graph = simplify(import_model(attention(12, 4, 16, batch=2)))
    assert (1, 0, 2) in [node.attributes.get("perm") for node in graph.nodes]


def test_lifts_rows_and_moved_axes(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[1,3,2] x) => (float[1,3,2] y) {
            a = Transpose<perm=[1,0,2]>(x)
            b = Softmax<axis=2>(a)
            c = Add(b, v)
            d = Sub(a, c)
            e = Mul(d, p)
            f = Div(e, r)
            y = Transpose<perm=[1,0,2]>(f)
        }""",
        v=ramp(2),
        p=ramp(3, 1, 2),
        r=ramp(1, 1),
    )
    rewritten(
        graph,
        (ReshapeMerging(), *PASSES),
        """
        %b/batch = Softmax(%x) {axis=-1} -> float32[1,3,2]
        %c/batch = Add(%b/batch, (-3.0, 2.0):float32[2]) -> float32[1,3,2]
        %d/batch = Sub(%x, %c/batch) -> float32[1,3,2]
        %e/batch = Mul(%d/batch, (-3.0, 2.0, 0.0, -2.0, 3.0, 1.0):float32[1,3,2]) -> float32[1,3,2]
        %y = Div(%e/batch, (-3.0):float32[1,1,1]) -> float32[1,3,2]
        """,
    )


def test_leaves_an_open_batch(graph_of: Build) -> None:
    graph = graph_of(
        """(float[N,3,2] x) => (float y) {
            a = Transpose<perm=[1,0,2]>(x)
            b = MatMul(a, w)
            y = Transpose<perm=[1,0,2]>(b)
        }""",
        w=ramp(2, 2),
    )
    assert LeadingBatch().apply(graph) is graph


def test_leaves_windows_that_were_taken_apart(graph_of: Build) -> None:
    """What is one of three parts is no batch of one."""
    graph = graph_of(
        """(float[4,2,3,4] x) => (float y) {
            a = Transpose<perm=[2,0,1,3]>(x)
            b, c, d = Split<axis=0>(a, sizes)
            e = Reshape(b, to)
            f = Transpose<perm=[0,1,3,2]>(c)
            g = Reshape(f, turned)
            h = MatMul(e, g)
            i = Softmax<axis=-1>(h)
            j = Reshape(d, to)
            y = MatMul(i, j)
        }""",
        sizes=i64(1, 1, 1),
        to=i64(4, 2, 4),
        turned=i64(4, 4, 2),
    )
    assert LeadingBatch().apply(graph) is graph
