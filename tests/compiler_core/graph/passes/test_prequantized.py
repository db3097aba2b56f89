"""Quantized models as float models, against onnxruntime on the quantized ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from compiler_core.compile.sources import load_model
from compiler_core.graph.passes.prequantized import dequantized
from tests.float_runs import exact_session, run_float

RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.standard_normal((4, 3, 8, 8)).astype(np.float32)
QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


class Samples(CalibrationDataReader):
    def __init__(self) -> None:
        self._left = [{"x": sample[None]} for sample in SAMPLES]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def network(path: Path) -> Path:
    """Convolutions, a residual addition, a pool and a dense layer."""

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w2", "b1"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "r"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sigmoid", ["p"], ["q"]),
        helper.make_node("Concat", ["p", "q"], ["j"], axis=1),
        helper.make_node("GlobalAveragePool", ["j"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants = [weight("w1", 8, 3, 3, 3), weight("w2", 8, 8, 3, 3), weight("w3", 5, 16)]
    constants += [weight("b1", 8), weight("b3", 5)]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("form", ["qdq", "qdq-signed", "qdq-channels", "operators", "dynamic"])
def test_quantized_networks_are_float_networks_again(tmp_path: Path, form: str) -> None:
    source = network(tmp_path / "float.onnx")
    path = tmp_path / "quantized.onnx"
    if form == "dynamic":
        quantize_dynamic(source, path, op_types_to_quantize=["MatMul", "Gemm"])
    else:
        quantize_static(
            source,
            path,
            Samples(),
            quant_format=QuantFormat.QOperator if form == "operators" else QuantFormat.QDQ,
            per_channel=form == "qdq-channels",
            activation_type=QuantType.QInt8 if form == "qdq-signed" else QuantType.QUInt8,
        )
    graph = load_model(path).graph
    assert not [node.op for node in graph.nodes if node.op in QUANTIZED or "QLinear" in node.op]
    # A few 8-bit roundings of what calibration saw lie between the two.
    session = exact_session(path)
    expected = session.run(None, {"x": SAMPLES})[0]
    got = run_float(graph, {"x": SAMPLES})["y"]
    noise = np.square(got - expected).mean() / np.square(expected).mean()
    assert noise < 1e-3


def test_a_zero_point_at_the_end_of_its_range_clamps(tmp_path: Path) -> None:
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        numpy_helper.from_array(np.array(0, np.uint8), "z"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "m", values[:1], values[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    read = load_model(tmp_path / "m.onnx").graph
    x = np.array([[-3.0, -0.1, 0.5, 2.0]], np.float32)
    assert np.array_equal(run_float(read, {"x": x})["y"], np.maximum(x, 0))
    beyond = run_float(read, {"x": x + 40})["y"]
    assert np.allclose(beyond, 25.5)


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("limits", [(0.0, 0.5), (-0.5, 0.0), (-0.5, 0.5)])
def test_a_clip_that_a_quantizer_left_to_saturation_is_there_again(
    tmp_path: Path, form: QuantFormat, limits: tuple[float, float]
) -> None:
    weights = RANDOM.standard_normal((2, 8, 8, 3, 3)).astype(np.float32) / 4
    constants = [
        numpy_helper.from_array(weights[0, :, :3], "w1"),
        numpy_helper.from_array(weights[1], "w2"),
        *(numpy_helper.from_array(np.float32(limits[n]), name) for n, name in enumerate("lh")),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"]),
        helper.make_node("Clip", ["c", "l", "h"], ["k"]),
        helper.make_node("Conv", ["k", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 4, 4])],
        constants,
    )
    path, opset = tmp_path / "float.onnx", [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    quantized = tmp_path / "quantized.onnx"
    quantize_static(path, quantized, Samples(), quant_format=form, activation_type=QuantType.QUInt8)
    assert "Clip" not in [node.op_type for node in onnx.load(quantized).graph.node]
    read = load_model(quantized).graph
    expected = exact_session(quantized).run(None, {"x": SAMPLES})[0]
    noise = np.square(run_float(read, {"x": SAMPLES})["y"] - expected).mean()
    assert noise < 0.02 * np.square(expected).mean()


def test_moves_of_integers_are_moves_of_real_numbers(tmp_path: Path) -> None:
    constants = [
        numpy_helper.from_array(np.array(0.02, np.float32), "s"),
        numpy_helper.from_array(np.array(118, np.uint8), "z"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Resize", ["q", "", "twice"], ["r"], mode="nearest"),
        helper.make_node("DepthToSpace", ["r"], ["d"], blocksize=2),
        # The same twice, spelled in two ways.
        helper.make_node("DequantizeLinear", ["d", "s", "z"], ["a"], axis=0),
        helper.make_node("DequantizeLinear", ["d", "s", "z"], ["b"]),
        helper.make_node("Sigmoid", ["a"], ["c"]),
        helper.make_node("Mul", ["b", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 12, 12])],
        constants,
    )
    path, opset = tmp_path / "m.onnx", [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    read = load_model(path).graph
    assert not [node.op for node in read.nodes if node.op in QUANTIZED]
    x = RANDOM.uniform(-2, 2, (1, 4, 3, 3)).astype(np.float32)
    expected = exact_session(path).run(None, {"x": x})[0]
    assert np.abs(run_float(read, {"x": x})["y"] - expected).max() < 0.03


def test_parts_and_choices_of_integers_are_those_of_real_numbers(tmp_path: Path) -> None:
    scales = {"s": 0.02, "t": 0.03, "u": 0.035}
    constants = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in scales.items()]
    constants += [
        numpy_helper.from_array(np.array(118, np.uint8), "z"),
        numpy_helper.from_array(np.array([1, 3], np.int64), "sizes"),
        numpy_helper.from_array(np.array([0, 1, 1], bool).reshape(1, 3, 1), "left"),
        numpy_helper.from_array(np.array(130, np.uint8), "other"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Split", ["q", "sizes"], ["a", "b"], axis=1),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["c"]),
        helper.make_node("DequantizeLinear", ["b", "s", "z"], ["d"], axis=0),
        helper.make_node("Mul", ["c", "d"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "t", "z"], ["p"]),
        helper.make_node(
            "QLinearWhere",
            ["left", "p", "t", "z", "other", "t", "z", "u", "z"],
            ["w"],
            domain="com.microsoft",
        ),
        helper.make_node("DequantizeLinear", ["w", "u", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 5])],
        constants,
    )
    path = tmp_path / "m.onnx"
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    read = load_model(path).graph
    assert {node.op for node in read.nodes} <= {"Split", "Slice", "Mul", "Where"}
    x = RANDOM.uniform(-1.5, 1.5, (1, 4, 5)).astype(np.float32)
    expected = exact_session(path).run(None, {"x": x})[0]
    assert np.abs(run_float(read, {"x": x})["y"] - expected).max() < 0.08


@given(
    axis=st.integers(0, 2),
    seed=st.integers(0, 99),
    form=st.sampled_from(["tensor", "channels", "blocks"]),
)
def test_constants_are_dequantized_as_the_operator_does(axis: int, seed: int, form: str) -> None:
    random = np.random.default_rng(seed)
    value = random.integers(-128, 128, (4, 6, 2), dtype=np.int8)
    block = 2 if form == "blocks" else 0
    shape = {
        "tensor": (),
        "channels": (value.shape[axis],),
        "blocks": tuple(
            size // 2 if index == axis else size for index, size in enumerate(value.shape)
        ),
    }[form]
    scale = random.uniform(0.1, 2, shape).astype(np.float32)
    zero = random.integers(-20, 20, shape).astype(np.int8)
    attributes = {"axis": axis, "block_size": block}
    node = helper.make_node("DequantizeLinear", ["v", "s", "z"], ["y"], **attributes)
    expected = onnx.reference.ReferenceEvaluator(
        helper.make_model(
            helper.make_graph(
                [node],
                "m",
                [],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, value.shape)],
                [
                    numpy_helper.from_array(array, name)
                    for name, array in zip("vsz", (value, scale, zero), strict=True)
                ],
            ),
            opset_imports=[helper.make_opsetid("", 21)],
        )
    ).run(None, {})[0]
    got = dequantized(value, scale, zero, attributes, given=True)
    assert got is not None
    assert np.allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("scale", "zero", "attributes"),
    [
        ((3,), (3,), {"axis": 0}),
        ((4,), (6,), {"axis": 0}),
        ((1, 6), (1, 6), {"axis": 0, "block_size": 2}),
        ((2, 6), (2, 6), {"axis": 0, "block_size": -2}),
    ],
)
def test_scales_that_do_not_fit_leave_the_constant(
    scale: tuple[int, ...], zero: tuple[int, ...], attributes: dict[str, int]
) -> None:
    value = np.ones((4, 6), np.int8)
    scales, zeros = np.ones(scale, np.float32), np.zeros(zero, np.int8)
    assert dequantized(value, scales, zeros, attributes, given=True) is None


def checked(path: Path, samples: np.ndarray) -> set[str]:
    """Operators of the float model, which computes nearly what the quantized one does."""
    graph = load_model(path).graph
    session = exact_session(path)
    for sample in samples:
        (wanted,) = session.run(None, {"x": sample[None]})
        found = run_float(graph, {"x": sample[None]}, ["y"])["y"]
        assert np.abs(found - wanted).mean() < 0.1 * np.abs(wanted).mean()
    return {node.op for node in graph.nodes}


@pytest.mark.parametrize("weights", [QuantType.QInt4, QuantType.QInt16])
def test_linear_operators_of_the_runtime_are_those_of_the_standard(tmp_path, weights) -> None:
    """Before opset 21 integers of 4 and 16 bits had operators of onnxruntime's own."""
    path, source = tmp_path / "quantized.onnx", network(tmp_path / "float.onnx")
    quantize_static(
        source, path, Samples(), weight_type=weights, activation_type=QuantType.QInt16,
        extra_options={"UseQDQContribOps": True},
    )  # fmt: skip
    assert "com.microsoft" in {node.domain for node in onnx.load(path).graph.node}
    assert not checked(path, SAMPLES) & QUANTIZED


def test_integers_with_channels_last(tmp_path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        agraph (float[1,3,8,8] x) => (float[1,4,4,4] y)
        <float scale = {0.02}, uint8 zero = {128}, float fine = {0.01}, int8 middle = {0}> {
            q = QuantizeLinear (x, scale, zero)
            last = Transpose <perm = [0, 2, 3, 1]> (q)
            c = com.microsoft.QLinearConv <channels_last = 1, pads = [1, 1, 1, 1]>
                (last, scale, zero, w, fine, middle, scale, zero)
            p = com.microsoft.QLinearAveragePool
                <channels_last = 1, kernel_shape = [2, 2], strides = [2, 2]>
                (c, scale, zero, scale, zero)
            first = Transpose <perm = [0, 3, 1, 2]> (p)
            y = DequantizeLinear (first, scale, zero)
        }
    """)
    weight = np.random.default_rng(0).integers(-40, 40, (4, 3, 3, 3)).astype(np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "last.onnx")
    assert checked(tmp_path / "last.onnx", SAMPLES / 4) == {"Conv", "AveragePool"}
