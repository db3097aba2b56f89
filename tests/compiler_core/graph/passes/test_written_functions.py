"""Operators that ONNX defines by others: the same numbers, and products that units see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import float_macs
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.written_functions import WrittenFunctions
from compiler_core.graph.session import FloatSession

HEADS, GROUPS, STEPS, WIDTH = 4, 2, 6, 8


def attention(rank: int, groups: int = HEADS, mask: Any = None, **attributes: Any) -> Graph:
    """One node over queries, keys and values that are inputs."""
    shapes = {
        name: [1, STEPS, heads * WIDTH] if rank == 3 else [1, heads, STEPS, WIDTH]
        for name, heads in (("q", HEADS), ("k", groups), ("v", groups))
    }
    if rank == 3:
        attributes |= {"q_num_heads": HEADS, "kv_num_heads": groups}
    arrays = [] if mask is None else [numpy_helper.from_array(mask, "mask")]
    names = [*shapes, *(["mask"] if arrays else [])]
    graph = helper.make_graph(
        [helper.make_node("Attention", names, ["y"], name="attention", **attributes)],
        "attention",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes["q"])],
        arrays,
    )
    opsets = [helper.make_opsetid("", 23)]
    return import_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))


MASK = np.where(np.tri(STEPS, dtype=bool), 0, -1e4).astype(np.float32)


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("groups", [HEADS, GROUPS])
@pytest.mark.parametrize("more", [{}, {"is_causal": 1}, {"mask": MASK}, {"scale": 0.3}])
def test_attention_is_products_of_matrices(rank: int, groups: int, more: dict[str, Any]) -> None:
    whole = attention(rank, groups, **more)
    parts = simplify(whole)
    assert "Attention" not in [node.op for node in parts.nodes]
    assert parts.outputs == whole.outputs
    macs = sum(float_macs(parts, node) for node in parts.nodes)
    assert float_macs(whole, whole.nodes[0]) == macs == 2 * HEADS * STEPS * STEPS * WIDTH
    random = np.random.default_rng(1)
    feeds = {
        name: random.normal(size=whole.types[name].shape).astype(np.float32)
        for name in whole.inputs
    }
    wanted, found = (FloatSession(graph).run(feeds)["y"] for graph in (whole, parts))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_names_of_two_bodies_do_not_meet() -> None:
    nodes = [
        helper.make_node("RMSNormalization", ["x", "s"], ["a"]),
        helper.make_node("RMSNormalization", ["a", "s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5])],
        [numpy_helper.from_array(np.linspace(0.5, 2, 5, dtype=np.float32), "s")],
    )
    opsets = [helper.make_opsetid("", 23)]
    whole = import_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    parts = WrittenFunctions(frozenset(("RMSNormalization",))).apply(whole)
    tensors = [name for node in parts.nodes for name in node.outputs]
    assert len(set(tensors)) == len(tensors)
    assert len({node.name for node in parts.nodes}) == len(parts.nodes)
    x = {"x": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)}
    wanted, found = (FloatSession(one).run(x)["y"] for one in (whole, parts))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_what_is_no_function_stays() -> None:
    graph = attention(4)
    assert WrittenFunctions(frozenset(("RMSNormalization",))).apply(graph) is graph
