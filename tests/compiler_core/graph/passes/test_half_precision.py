"""Half precision models as float32 models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node, TensorType
from compiler_core.graph.passes.half_precision import HalfToFloat
from tests.float_runs import run_float


@pytest.mark.parametrize("border", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_inside_is_float32_and_the_border_keeps_its_type(tmp_path: Path, border: int) -> None:
    random = np.random.default_rng(0)
    weight = (random.standard_normal((4, 3, 3, 3)) / 5).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Cast", ["r"], ["y"], to=border),
    ]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", border, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", border, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    read = load_model(tmp_path / "m.onnx").graph
    kinds = {name: known.dtype for name, known in read.types.items()}
    name = helper.tensor_dtype_to_np_dtype(border).name
    assert kinds["x"] == kinds["y"] == name
    assert {kinds[node.output] for node in read.nodes if node.op == "Conv"} == {"float32"}
    x = random.standard_normal((1, 3, 8, 8)).astype(name)
    got = run_float(read, {"x": x})["y"]
    expected = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert got.dtype == expected.dtype
    assert np.allclose(got.astype(np.float32), expected.astype(np.float32), atol=0.02)


def test_an_output_of_half_precision_behind_a_transpose_is_cast_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Softmax", ["t"], ["s"], axis=1),
        helper.make_node("Transpose", ["s"], ["y"], perm=[0, 2, 1]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 5, 3]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "m", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    read = load_model(tmp_path / "m.onnx").graph
    assert [node.op for node in read.nodes].count("Cast") == 2
    x = np.random.default_rng(0).standard_normal((1, 5, 3)).astype(np.float16)
    expected = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    got = run_float(read, {"x": x})["y"]
    assert got.dtype == np.float16
    assert np.allclose(got, expected, atol=2e-3)


def test_functions_that_nothing_calls_and_merged_operators_change_nothing() -> None:
    half = TensorType("float16", (1, 4))
    weight = np.ones((4, 4), np.float16)
    graph = Graph(
        name="m",
        nodes=(Node("d", "Dense", ("x", "w"), ("h",), {}, NEST_DOMAIN),),
        constants={"w": weight},
        inputs=("x",),
        outputs=("h",),
        types={"x": half, "h": half, "w": TensorType("float16", (4, 4))},
        opsets={"": 17, NEST_DOMAIN: 1},
        functions=(
            helper.make_function("own", "Unused", ["a"], ["b"], [], []).SerializeToString(),
        ),
    )
    found = HalfToFloat().apply(graph)
    assert [node.op for node in found.nodes] == ["Cast", "Dense", "Cast"]
    assert found.constants["w"].dtype == np.float32
