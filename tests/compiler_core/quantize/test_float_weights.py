"""Float weights between integers stay float in onnxruntime, at every level of rewriting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.quantize.float_weights import keep_float_weights
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import Static
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme

LEVELS = ("ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
Array = npt.NDArray[np.float32]


def run(model: onnx.ModelProto, x: Array, level: str) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x})
    return np.asarray(found)


def uneven(random: np.random.Generator, shape: tuple[int, ...], axis: int) -> Array:
    """Weights whose channels differ by orders of magnitude: one scale for all destroys them."""
    column = np.exp(2 * random.normal(size=[n if a == axis else 1 for a, n in enumerate(shape)]))
    return (random.normal(size=shape) * column).astype(np.float32)


def written(kind: str, folder: Path) -> Path:
    """A network whose operator ``odd`` is between others, with what moves values between them."""
    random = np.random.default_rng(7)
    image = kind in ("depthwise", "grouped", "transposed", "pooled")
    shape = [1, 8, 6, 6] if image else [1, 6, 8]
    nodes = [helper.make_node("Sigmoid", ["x"], ["first"], name="before")]
    values: dict[str, npt.NDArray[np.generic]] = {"b": uneven(random, (8,), 0)}
    read = "first"
    if kind == "pooled":
        nodes.append(helper.make_node("MaxPool", [read], ["moved"], kernel_shape=[2, 2]))
        read, shape = "moved", [1, 8, 5, 5]
    elif kind == "turned":
        nodes.append(helper.make_node("Transpose", [read], ["moved"], perm=[0, 2, 1]))
        read, shape = "moved", [1, 8, 6]
    elif kind in ("rows", "gemm"):
        values["rows"] = np.array([6, 8])
        nodes.append(helper.make_node("Reshape", [read, "rows"], ["moved"]))
        read, shape = "moved", [6, 8]
    inner = 6 if kind == "turned" else 8
    if image and kind != "transposed":
        groups = {"depthwise": 8, "grouped": 2, "pooled": 1}[kind]
        values["w"] = uneven(random, (8, 8 // groups, 3, 3), 0)
        own = {"group": groups, "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [read, "w", "b"], ["y"], name="odd", **own))
    elif kind == "transposed":
        values["w"] = uneven(random, (8, 8, 2, 2), 1)
        own = {"strides": [2, 2]}
        nodes.append(helper.make_node("ConvTranspose", [read, "w", "b"], ["y"], name="odd", **own))
        shape = [1, 8, 12, 12]
    elif kind == "gemm":
        values["w"] = uneven(random, (8, inner), 0)
        nodes.append(helper.make_node("Gemm", [read, "w", "b"], ["y"], name="odd", transB=1))
    else:
        values["w"] = uneven(random, (inner, 8), 1)
        nodes.append(helper.make_node("MatMul", [read, "w"], ["product"], name="odd"))
        nodes.append(helper.make_node("Add", ["product", "b"], ["y"], name="sum"))
    shape = shape if image or kind == "turned" else [*shape[:-1], 8]
    shape = [1, 8, 8] if kind == "turned" else shape
    nodes.append(helper.make_node("Sigmoid", ["y"], ["last"], name="after"))
    outputs = [helper.make_tensor_value_info("last", 1, shape)]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("x", 1, [1, 8, 6, 6] if image else [1, 6, 8])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = folder / f"{kind}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def lowered(graph: Graph, x: Array) -> Graph:
    """All around weights in integers."""
    ranges = profile_model(graph, {"x": x}).ranges()
    weighted = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Dense")
    formats = {node.name: Static("uint8") for node in graph.nodes if node.op not in weighted}
    return lower_precisions(graph, formats, ranges, QuantizationScheme())


@pytest.mark.parametrize(
    "kind",
    ["depthwise", "grouped", "pooled", "transposed", "gemm", "rows", "three axes", "turned"],
)
def test_they_stay_float(kind: str, tmp_path: Path) -> None:
    graph = load_model(written(kind, tmp_path)).graph
    x = np.random.default_rng(3).normal(size=(1, 8, 6, 6)).astype(np.float32)
    x = x if len(graph.types["x"].shape or ()) == 4 else x[:, 0].reshape(1, 6, 6)[:, :, :6]
    if x.ndim == 3:
        x = np.concatenate([x, x[:, :, :2]], axis=2)
    found = lowered(graph, x)
    model = export_onnx(found)
    expected = run(model, x, "ORT_DISABLE_ALL")
    step = 1.01 / 255
    for level in LEVELS:
        assert np.abs(run(model, x, level) - expected).max() <= step, level
    assert len(found.nodes) == len(keep_float_weights(found).nodes)


def test_other_readers_keep_one_scale(tmp_path: Path) -> None:
    """What reads integers reads them as before, or kernels for integers would not be found."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"], name="before"),
        helper.make_node("Conv", ["a", "w"], ["c"], name="odd"),
        helper.make_node("Sigmoid", ["c"], ["d"], name="after"),
        helper.make_node("Add", ["a", "d"], ["y"], name="sum"),
    ]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("x", 1, [1, 4, 3, 3])],
        [helper.make_tensor_value_info("y", 1, [1, 4, 3, 3])],
        [numpy_helper.from_array(uneven(np.random.default_rng(0), (4, 4, 1, 1), 0), "w")],
    )
    path = tmp_path / "shared.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    x = np.random.default_rng(3).normal(size=(1, 4, 3, 3)).astype(np.float32)
    found = lowered(load_model(path).graph, x)
    conv, total = (next(n for n in found.nodes if n.name == name) for name in ("odd", "sum"))
    assert found.constants[found.producer(conv.inputs[0]).inputs[1]].shape == (4,)  # type: ignore[union-attr]
    assert found.constants[found.producer(total.inputs[0]).inputs[1]].shape == ()  # type: ignore[union-attr]


def test_without_a_fixed_axis_a_clamp_guards(tmp_path: Path) -> None:
    """Rows of one entry: no axis to give scales to."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"], name="before"),
        helper.make_node("Conv", ["a", "w"], ["c"], name="odd"),
        helper.make_node("Sigmoid", ["c"], ["y"], name="after"),
    ]
    shape = [1, 1, 1, 1]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, [1, 4, 1, 1])],
        [numpy_helper.from_array(uneven(np.random.default_rng(0), (4, 1, 1, 1), 0), "w")],
    )
    path = tmp_path / "small.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    x = np.ones(shape, np.float32)
    model = export_onnx(lowered(load_model(path).graph, x))
    assert "Clip" in [node.op_type for node in model.graph.node]
    expected = run(model, x, "ORT_DISABLE_ALL")
    for level in LEVELS:
        assert np.array_equal(run(model, x, level), expected)


def test_sizes_that_depend_on_the_batch_are_no_number_of_scales(tmp_path: Path) -> None:
    graph = load_model(written("depthwise", tmp_path)).graph
    x = np.random.default_rng(3).normal(size=(1, 8, 6, 6)).astype(np.float32)
    (odd,) = (node for node in graph.nodes if node.name == "odd")
    depends = replace(graph, batch_dependent=frozenset([*graph.batch_dependent, odd.inputs[0]]))
    found = lowered(depends, x)
    read = found.producer(next(n for n in found.nodes if n.name == "odd").inputs[0])
    assert read is not None
    assert read.clip is not None
    assert found.constants[read.inputs[1]].shape == ()
