"""Dense layers whose features are split: the same function from a layer for each part."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

SHARES = ("split", "gather", "slice")


def joint(
    tokens: int,
    heads: int,
    width: int,
    share: str,
    *,
    batch: int | str = 1,
    outputs: tuple[str, ...] = ("q", "k", "v"),
    bias: bool = True,
) -> onnx.ModelProto:
    """``[batch, tokens, 6]`` to three tensors ``[batch, heads, tokens, width]``."""
    features = 3 * heads * width
    generator = np.random.default_rng(1)
    constants = {
        "w": generator.standard_normal((6, features)).astype(np.float32),
        "b": generator.standard_normal(features).astype(np.float32),
        "shape": np.array([0, tokens, 3, heads, width], np.int64),
        "first": np.array([0], np.int64),
        "ones": np.array([1, 1, 1], np.int64),
        **{f"i{at}": np.array(at, np.int64) for at in range(3)},
        **{f"s{at}": np.array([at], np.int64) for at in range(4)},
    }
    node = helper.make_node
    nodes = [node("MatMul", ["x", "w"], ["m"])]
    nodes += [node("Add", ["m", "b"], ["a"])] if bias else [node("Identity", ["m"], ["a"])]
    nodes += [
        node("Reshape", ["a", "shape"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=(2, 0, 3, 1, 4)),
    ]
    names = ["q", "k", "v"]
    if share == "split":
        nodes.append(node("Split", ["t", "ones"], [f"{n}1" for n in names], axis=0))
        nodes += [node("Squeeze", [f"{n}1", "first"], [n]) for n in names]
    for at, name in enumerate(names):
        if share == "gather":
            nodes.append(node("Gather", ["t", f"i{at}"], [name], axis=0))
        elif share == "slice":
            limits = [f"s{at}", f"s{at + 1}", "first"]
            nodes.append(node("Slice", ["t", *limits], [f"{name}1"]))
            nodes.append(node("Squeeze", [f"{name}1", "first"], [name]))
    graph = helper.make_graph(
        nodes,
        "joint",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, tokens, 6])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def results(model: onnx.ModelProto, samples: np.ndarray) -> dict[str, np.ndarray]:
    graph = simplify(import_model(model))
    return FloatSession(graph).run({"x": samples})


@settings(deadline=None, max_examples=20)
@given(
    tokens=st.integers(1, 5),
    heads=st.integers(1, 3),
    width=st.sampled_from([4, 16, 32]),
    share=st.sampled_from(SHARES),
    batch=st.sampled_from([1, "n"]),
    bias=st.booleans(),
)
def test_parts_are_what_was_split(
    tokens: int, heads: int, width: int, share: str, batch: int | str, bias: bool
) -> None:
    model = joint(tokens, heads, width, share, batch=batch, bias=bias)
    x = np.random.default_rng(2).standard_normal((1, tokens, 6)).astype(np.float32)
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    plain = x @ constants["w"] + (constants["b"] if bias else 0)
    parts = plain.reshape(1, tokens, 3, heads, width).transpose(2, 0, 3, 1, 4)
    for name, expected in zip(("q", "k", "v"), parts, strict=True):
        np.testing.assert_allclose(results(model, x)[name], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("share", SHARES)
def test_each_part_has_a_layer_and_nothing_is_moved_but_by_views(
    share: str, batch: int | str
) -> None:
    graph = simplify(import_model(joint(4, 2, 16, share, batch=batch)))
    assert {node.op for node in graph.nodes} <= {"Dense", "Reshape", "Transpose"}
    dense = [node for node in graph.nodes if node.op == "Dense"]
    assert [graph.constants[node.inputs[1]].shape for node in dense] == [(6, 32)] * 3


def test_a_part_that_nobody_reads_is_not_computed() -> None:
    graph = simplify(import_model(joint(4, 2, 16, "split", outputs=("q", "v"))))
    assert len([node for node in graph.nodes if node.op == "Dense"]) == 2


def test_what_is_read_whole_stays() -> None:
    model = joint(4, 2, 16, "gather", outputs=("q", "k", "v", "t"))
    graph = simplify(import_model(model))
    assert len([node for node in graph.nodes if node.op == "Dense"]) == 1


def test_heads_of_no_whole_vectors_stay_together() -> None:
    graph = simplify(import_model(joint(4, 2, 8, "split")))
    assert len([node for node in graph.nodes if node.op == "Dense"]) == 1
