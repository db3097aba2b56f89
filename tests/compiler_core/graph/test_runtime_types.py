"""Operators of onnxruntime's own have the shapes that it infers, and so has what follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.cpu_causes import unpriced
from compiler_core.compile.sources import load_model
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.assignment import cpu_reasons

STEPS, PAST, HEADS, GROUPS, WIDTH, LAYERS = 4, 3, 4, 2, 16, 2
FEATURES = HEADS * WIDTH


def decoder() -> onnx.ModelProto:
    """Layers of attention with rotated positions and a cache, as builders of language models write
    them: each needs the shapes of those before it."""
    random = np.random.default_rng(0)
    weights = {
        "length": np.array([STEPS + PAST - 1], np.int32),
        "total": np.int32(STEPS + PAST),
        "cos": np.cos(np.arange(128).reshape(16, 8)).astype(np.float32),
        "sin": np.sin(np.arange(128).reshape(16, 8)).astype(np.float32),
    }
    nodes, inputs, outputs, x = [], {"x": [1, STEPS, FEATURES]}, [], "x"
    for layer in range(LAYERS):
        names = {key: f"{key}{layer}" for key in ("q", "k", "v", "o", "a", "n", "r")}
        pasts = {f"past_{key}{layer}": [1, GROUPS, PAST, WIDTH] for key in "kv"}
        presents = [f"present_{key}{layer}" for key in "kv"]
        for key, size in (("q", FEATURES), ("k", GROUPS * WIDTH), ("v", GROUPS * WIDTH)):
            weights[f"{names[key]}.w"] = random.standard_normal((FEATURES, size))
            nodes.append(helper.make_node("MatMul", [x, f"{names[key]}.w"], [names[key]]))
        nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [*(names[key] for key in "qkv"), *pasts, "length", "total", "cos", "sin"],
                [names["a"], *presents],
                domain="com.microsoft", num_heads=HEADS, kv_num_heads=GROUPS, do_rotary=1,
            )
        )  # fmt: skip
        weights[f"{names['o']}.w"] = random.standard_normal((FEATURES, FEATURES))
        nodes.append(helper.make_node("MatMul", [names["a"], f"{names['o']}.w"], [names["o"]]))
        weights[f"{names['n']}.w"] = np.ones(FEATURES)
        nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [x, names["o"], f"{names['n']}.w"],
                [names["n"], "", "", names["r"]],
                domain="com.microsoft",
            )
        )
        inputs |= pasts
        outputs += presents
        x = names["n"]
    given = {
        name: array if array.dtype == np.int32 else array.astype(np.float32)
        for name, array in weights.items()
    }
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (x, *outputs)],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_what_follows_attention_with_a_cache_is_known(tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    onnx.save(decoder(), path)
    graph = load_model(path).graph
    assert unpriced(graph) == ()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {v.name: np.ones(v.shape, np.float32) for v in session.get_inputs()}
    for value, array in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        assert graph.types[value.name].shape == array.shape
    products = [node for node in graph.nodes if node.op == "Dense"]
    assert len(products) == 4 * LAYERS
    assert not {node.name for node in products} & cpu_reasons(graph).keys()


def test_attention_with_a_cache_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    onnx.save(decoder(), path)
    graph = load_model(path).graph
    counted = [float_macs(graph, n) for n in graph.nodes if n.op == "GroupQueryAttention"]
    assert counted == [2 * STEPS * (STEPS + PAST) * FEATURES] * LAYERS
