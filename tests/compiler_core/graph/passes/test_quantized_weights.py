"""Operators with packed or integer weights, as onnxruntime computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.graph.passes.quantized_weights import unpacked
from compiler_core.graph.session import FloatSession
from tests.float_runs import exact_session

QUIET = list(HealthCheck)


OWN = {"domain": "com.microsoft"}
DYNAMIC = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"])
STATIC = helper.make_node("QuantizeLinear", ["x", "qs", "qz"], ["q"])
STEPS = {"qs": np.array(0.03, np.float32), "qz": np.array(121, np.uint8)}


def saved(
    path: Path,
    node: onnx.NodeProto | list[onnx.NodeProto],
    arrays: dict[str, np.ndarray],
    shapes: tuple[list[int], ...],
) -> Path:
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip("xy", shapes, strict=True)
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = node if isinstance(node, list) else [node]
    graph = helper.make_graph(nodes, "m", infos[:1], infos[1:], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def is_the_same(path: Path, x: np.ndarray, tolerance: float) -> list[str]:
    graph = load_model(path).graph
    session = exact_session(path)
    expected = session.run(["y"], {"x": x})[0]
    found = FloatSession(graph).run({"x": x})["y"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    return [node.op for node in graph.nodes]


@given(
    terms=st.integers(1, 70),
    outputs=st.integers(1, 9),
    bits=st.sampled_from([4, 8]),
    block=st.sampled_from([16, 32]),
    zero=st.sampled_from(["none", "packed"]),
    bias=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
def test_blocks_of_few_bits(tmp_path, terms, outputs, bits, block, zero, bias):
    random = np.random.default_rng(terms * 31 + outputs)
    blocks = -(-terms // block)
    arrays = {
        "w": random.integers(0, 256, (outputs, blocks, block * bits // 8), np.uint8),
        "s": random.uniform(0.01, 0.1, outputs * blocks).astype(np.float32),
    }
    names = ["x", "w", "s"]
    if zero == "packed":
        arrays["z"] = random.integers(0, 256, outputs * -(-blocks * bits // 8), np.uint8)
        names.append("z")
    if bias:
        arrays["b"] = random.standard_normal(outputs).astype(np.float32)
        names += [""] * (5 - len(names)) + ["b"]
    numbers = {"K": terms, "N": outputs, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", **numbers)
    path = saved(tmp_path / "m.onnx", node, arrays, ([2, 3, terms], [2, 3, outputs]))
    x = random.standard_normal((2, 3, terms)).astype(np.float32)
    assert not set(is_the_same(path, x, 1e-4)) - {"MatMul", "Add", "Dense"}


def test_bits_are_read_from_the_lowest():
    packed = np.array([[0xE1, 0x1B]], np.uint8)
    assert unpacked(packed, 4, 3).tolist() == [[1, 14, 11]]
    assert unpacked(packed, 2, 8).tolist() == [[1, 0, 2, 3, 3, 2, 1, 0]]
    assert unpacked(packed, 8, 2).tolist() == [[0xE1, 0x1B]]


@pytest.mark.parametrize("columns", [False, True])
def test_products_that_quantize_as_they_come(tmp_path, columns):
    random = np.random.default_rng(3)
    count = 6 if columns else 1
    arrays = {
        "w": random.integers(-128, 128, (8, 6)).astype(np.int8),
        "s": random.uniform(0.01, 0.1, count).astype(np.float32),
        "z": np.zeros(count, np.int8),
        "b": random.standard_normal(6).astype(np.float32),
    }
    names = ["x", *arrays]
    node = helper.make_node("DynamicQuantizeMatMul", names, ["y"], domain="com.microsoft")
    path = saved(tmp_path / "m.onnx", node, arrays, ([5, 8], [5, 6]))
    x = random.standard_normal((5, 8)).astype(np.float32)
    assert not set(is_the_same(path, x, 0.03)) - {"Dense", "Gemm", "MatMul", "Add"}


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("columns", [False, True])
def test_recurrent_cells_that_quantize_as_they_come(tmp_path, directions, columns):
    random = np.random.default_rng(4)
    size, inputs, steps = 4, 5, 6
    gates = (directions, 4 * size) if columns else (directions,)
    arrays = {
        "w": random.integers(-128, 128, (directions, inputs, 4 * size)).astype(np.int8),
        "r": random.integers(-128, 128, (directions, size, 4 * size)).astype(np.int8),
        "b": random.standard_normal((directions, 8 * size)).astype(np.float32),
        "ws": random.uniform(0.002, 0.01, gates).astype(np.float32),
        "wz": np.zeros(gates, np.int8),
        "rs": random.uniform(0.002, 0.01, gates).astype(np.float32),
        "rz": np.zeros(gates, np.int8),
    }
    names = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    node = helper.make_node(
        "DynamicQuantizeLSTM",
        names,
        ["y"],
        domain="com.microsoft",
        hidden_size=size,
        direction="bidirectional" if directions > 1 else "forward",
    )
    shapes = [steps, 1, inputs], [steps, directions, 1, size]
    path = saved(tmp_path / "m.onnx", node, arrays, shapes)
    x = random.standard_normal((steps, 1, inputs)).astype(np.float32)
    assert is_the_same(path, x, 0.05) == ["LSTM"]


@pytest.mark.parametrize("form", ["dynamic", "static"])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_products_of_integers_that_give_real_numbers(tmp_path, form, columns, bias):
    random = np.random.default_rng(0)
    size = (6,) if columns else ()
    arrays = {
        "w": random.integers(-128, 128, (8, 6), np.int8),
        "ws": random.uniform(0.01, 0.1, size).astype(np.float32),
        "wz": random.integers(-9, 9, size).astype(np.int8),
        **(STEPS if form == "static" else {}),
    }
    names = ["q", "w", "qs", "ws", "qz", "wz"]
    if bias:
        arrays["b"] = random.standard_normal(6).astype(np.float32)
        names.append("b")
    node = helper.make_node("MatMulIntegerToFloat", names, ["y"], **OWN)
    nodes = [DYNAMIC if form == "dynamic" else STATIC, node]
    path = saved(tmp_path / "m.onnx", nodes, arrays, ([2, 3, 8], [2, 3, 6]))
    x = random.uniform(-3, 3, (2, 3, 8)).astype(np.float32)
    assert not set(is_the_same(path, x, 0.03)) - {"MatMul", "Add", "Dense"}


@pytest.mark.parametrize("form", ["dynamic", "static"])
def test_attention_that_was_quantized_after_it_had_been_fused(tmp_path, form):
    random = np.random.default_rng(0)
    arrays = {
        "w": random.integers(-128, 128, (8, 24), np.int8),
        "b": random.standard_normal(24).astype(np.float32),
        "ws": np.array(0.004, np.float32),
        "wz": np.array(3, np.int8),
        **(STEPS if form == "static" else {}),
    }
    names = ["q", "w", "b", "qs", "ws", "", "qz", "wz"]
    node = helper.make_node("QAttention", names, ["y"], num_heads=2, unidirectional=1, **OWN)
    nodes = [DYNAMIC if form == "dynamic" else STATIC, node]
    path = saved(tmp_path / "m.onnx", nodes, arrays, ([1, 5, 8], [1, 5, 8]))
    x = random.uniform(-3, 3, (1, 5, 8)).astype(np.float32)
    found = set(is_the_same(path, x, 0.05))
    assert "Softmax" in found
    assert not {op for op in found if "Quantize" in op or "Attention" in op}


@pytest.mark.parametrize("segments", [False, True])
def test_embeddings_that_were_quantized_after_they_had_been_fused(tmp_path, segments):
    random = np.random.default_rng(0)
    shapes = {"words": (9, 8), "places": (6, 8), "kinds": (2, 8), "gamma": (8,), "beta": (8,)}
    tables = {name: random.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
    tables |= {f"{name}.s": np.array(0.01, np.float32) for name in shapes}
    tables |= {f"{name}.z": np.array(90, np.uint8) for name in shapes}
    arrays = {**tables, "kind": np.array([[0, 1, 1, 0, 1]], np.int32)}
    tables = {name: name if segments or name != "kinds" else "" for name in shapes}
    used = list(tables.values())
    steps, zeros = ([f"{name}.{part}" if name else "" for name in used] for part in "sz")
    names = ["i", "kind" if segments else "", *used, "", *steps, *zeros]
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        helper.make_node("QEmbedLayerNormalization", names, ["y", "n"], **OWN),
    ]
    path = saved(tmp_path / "m.onnx", nodes, arrays, ([1, 5], [1, 5, 8]))
    x = random.integers(0, 9, (1, 5)).astype(np.float32)
    found = is_the_same(path, x, 1e-4)
    assert "LayerNormalization" in found
    assert not [op for op in found if "Quantize" in op or "Embed" in op]
