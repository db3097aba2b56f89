"""Einsum of two operands as matrix products: the same function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.dense import DenseForming
from compiler_core.graph.passes.einsum import EinsumProducts
from compiler_core.graph.session import FloatSession

SIZES = dict(zip("abcdefg", (1, 3, 2, 4, 5, 2, 3), strict=True))


def model_of(first: str, second: str, output: str, *, constant: int | None, batch: str = ""):
    """Einsum of ``x`` and ``y``, of which one may be constant; index ``batch`` is left open."""
    random = np.random.default_rng(0)
    inputs, weights = [], []
    for place, (name, term) in enumerate((("x", first), ("y", second))):
        if place == constant:
            array = random.standard_normal([SIZES[i] for i in term]).astype(np.float32)
            weights.append(numpy_helper.from_array(array, name))
        else:
            shape = ["N" if i == batch else SIZES[i] for i in term]
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    node = helper.make_node(
        "Einsum", ["x", "y"], ["z"], "sum", equation=f"{first},{second}->{output}"
    )
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", inputs, [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compare(model: onnx.ModelProto, batch: int = 1) -> list[str]:
    """Operators of the rewritten graph, whose results have to be those of the model."""
    graph = import_model(model)
    found = DenseForming().apply(EinsumProducts().apply(graph))
    random = np.random.default_rng(1)
    feed = {}
    for name in graph.inputs:
        shape = list(graph.types[name].shape)
        shape[0] *= batch if name in graph.dynamic_batch else 1
        feed[name] = random.standard_normal(shape).astype(np.float32)
    expected = FloatSession(graph).run(feed)["z"]
    np.testing.assert_allclose(FloatSession(found).run(feed)["z"], expected, atol=1e-4)
    assert found.types["z"].shape == graph.types["z"].shape
    return [node.op for node in found.nodes]


@given(data=st.data(), constant=st.sampled_from([None, 0, 1]))
@settings(max_examples=150, deadline=None)
def test_the_same_function(data, constant):
    kinds = {
        i: data.draw(st.sampled_from(["shared", "summed", "left", "right", ""])) for i in SIZES
    }
    both = [i for i, kind in kinds.items() if kind in ("shared", "summed")]
    terms = [
        data.draw(st.permutations([*both, *(i for i, k in kinds.items() if k == own)]))
        for own in ("left", "right")
    ]
    kept = [i for i, kind in kinds.items() if kind in ("shared", "left", "right")]
    first, second, output = map("".join, (*terms, data.draw(st.permutations(kept))))
    if first and second and output:
        compare(model_of(first, second, output, constant=constant))


@pytest.mark.parametrize(
    ("first", "second", "output", "constant", "operators"),
    [
        ("abd", "dce", "abce", 1, ["Dense", "Reshape"]),
        ("abde", "dec", "abc", 1, ["Reshape", "Dense"]),
        ("abd", "abde", "abe", None, ["Reshape", "MatMul", "Reshape"]),
        ("abd", "abe", "abde", None, ["Reshape", "Reshape", "Mul"]),
        (
            "abcd",
            "afgd",
            "abcfg",
            None,
            ["Reshape", "Transpose", "Reshape", "MatMul", "Reshape"],
        ),
        ("dc", "abd", "abc", 0, ["Dense"]),
        ("acbd", "cde", "acbe", 1, ["Gather", "Dense"] * 2 + ["Concat", "Reshape", "Transpose"]),
        ("acbd", "aced", "acbe", None, ["Transpose", "MatMul"]),
        ("acbd", "acbe", "acde", None, ["Transpose", "MatMul"]),
    ],
)
def test_products_of_a_batch(first, second, output, constant, operators):
    found = compare(model_of(first, second, output, constant=constant, batch="a"), batch=3)
    assert [op for op in found if op != "Identity"] == operators


@pytest.mark.parametrize(("first", "second", "output"), [("abb", "bc", "ac"), ("ab", "cb", "a")])
def test_others_stay(first, second, output):
    model = model_of(first, second, output, constant=None)
    assert "Einsum" in compare(model)


def test_a_stack_of_matrices_is_a_layer_for_each():
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    m (float[N,3,5,4] x) => (float[N,3,5,2] z) { z = MatMul (x, w) }
    """
    model = onnx.parser.parse_model(text)
    weights = np.random.default_rng(2).standard_normal((3, 4, 2)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    assert compare(model, batch=2).count("Dense") == 3


@pytest.mark.parametrize(
    ("constant", "other", "side"),
    [
        ((1, 3, 4, 5), (1, 3, 2, 4), 1),  # a position of its own for each head
        ((3, 4, 5), (2, 3, 2, 4), 1),
        ((1, 4, 5), (2, 3, 4), 1),
        ((1, 3, 2, 4), (1, 3, 4, 5), 0),  # learned queries
        ((3, 2, 4), (3, 4, 5), 0),
        ((1, 2, 4), (1, 4, 5), 0),
        ((2, 4), (1, 3, 4, 5), 0),  # the edges of a graph
        ((2, 4), (4, 5), 0),
    ],
)
@pytest.mark.parametrize("opset", [9, 17])
def test_constant_matrices_on_either_side(constant, other, side, opset) -> None:
    array = np.random.default_rng(0).standard_normal(constant).astype(np.float32)
    weight = numpy_helper.from_array(array, "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, other)
    names = ["x", "w"] if side else ["w", "x"]
    node = helper.make_node("MatMul", names, ["z"], "product")
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [result], [weight])
    opsets = [helper.make_opsetid("", opset)]
    operators = compare(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    assert "MatMul" not in operators
    assert {"Dense", "Conv"} & {*operators}


@pytest.mark.parametrize("constant", [None, 0, 1])
@pytest.mark.parametrize(
    ("first", "second", "output"), [("bcd", "cde", "bce"), ("bc", "bd", "bcd"), ("bcd", "cd", "bc")]
)
def test_clamps_stay(first, second, output, constant) -> None:
    model = model_of(first, second, output, constant=constant)
    graph = import_model(model)
    clamped = replace(graph, nodes=tuple(replace(n, clip=(0.0, 0.5)) for n in graph.nodes))
    found = EinsumProducts().apply(clamped)
    random = np.random.default_rng(1)
    feed = {
        name: random.standard_normal(graph.types[name].shape).astype(np.float32)
        for name in graph.inputs
    }
    expected = np.clip(FloatSession(graph).run(feed)["z"], 0, 0.5)
    np.testing.assert_allclose(FloatSession(found).run(feed)["z"], expected, atol=1e-4)


def test_a_constant_that_is_repeated_stays() -> None:
    array = np.ones((3, 4, 5), np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 2, 4))
    node = helper.make_node("MatMul", ["x", "w"], ["z"])
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [result], [numpy_helper.from_array(array, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert compare(model) == ["MatMul"]


def test_experts_run_on_the_npu(tmp_path: Path) -> None:
    model = model_of("abd", "cde", "acbe", constant=1, batch="a")
    onnx.save(model, tmp_path / "m.onnx")
    data = {"x": np.random.default_rng(3).standard_normal((8, 3, 4)).astype(np.float32)}
    made = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration=data)
    assert "Einsum" not in "".join(made.cpu_reasons.values())
    assert nest_tune.run(tmp_path / "out", data, check=True).bit_exact
