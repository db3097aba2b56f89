"""Models of other kinds than the bundled example's, each with data: old operator sets, models that
are quantized or narrow already, text, sequences, optionals, and graphs within graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, npt.NDArray[Any]]
Made = tuple[onnx.ModelProto, Arrays]

_FLOAT, _HALF, _INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def _value(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Arrays,
    opset: int = 17,
) -> onnx.ModelProto:
    nodes = [_named(node, place) for place, node in enumerate(nodes)]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    # Old files list their constants among the inputs.
    listed = [_value(item.name, item.data_type, list(item.dims)) for item in weights if opset < 9]
    graph = helper.make_graph(nodes, "seed", [*inputs, *listed], outputs, weights)
    version = 3 if opset < 9 else 8
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version
    )


def _rows(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def _named(node: onnx.NodeProto, place: int) -> onnx.NodeProto:
    node.name = f"{node.op_type}{place}"
    return node


def _opset6() -> Made:
    """Broadcasts by attribute, dropout with ``is_test``, constants listed as inputs."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], is_test=1),
        node("Add", ["n", "b"], ["a"], broadcast=1, axis=1),
        node("Relu", ["a"], ["r"]),
        node("Dropout", ["r"], ["d"], is_test=1),
        node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["p", "to"], ["f"]),
        node("Gemm", ["f", "g", "gb"], ["y"], broadcast=1),
    ]
    constants: Arrays = {
        "w": _rows(8, 1, 3, 3), "s": np.ones(8, np.float32), "b": _rows(8),
        "m": np.zeros(8, np.float32), "v": np.ones(8, np.float32), "g": _rows(32, 4),
        "gb": _rows(4), "to": np.array([1, -1], np.int64),
    }  # fmt: skip
    inputs, outputs = [_value("x", _FLOAT, [1, 1, 4, 4])], [_value("y", _FLOAT, [1, 4])]
    return _model(nodes, inputs, outputs, constants, 6), {"x": _rows(3, 1, 4, 4)}


def _opset1() -> Made:
    """The oldest form of everything."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Relu", ["c"], ["r"], consumed_inputs=[0]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Dropout", ["p"], ["d"], is_test=1, consumed_inputs=[0]),
        node("Reshape", ["d"], ["f"], shape=[1, -1]),
        node("Softmax", ["f"], ["y"]),
    ]
    inputs, outputs = [_value("x", _FLOAT, [1, 1, 4, 4])], [_value("y", _FLOAT, [1, 32])]
    return _model(nodes, inputs, outputs, {"w": _rows(8, 1, 3, 3)}, 1), {"x": _rows(3, 1, 4, 4)}


def _quantized_operators() -> Made:
    """QLinearConv, MatMulInteger and what surrounds them."""
    node = helper.make_node
    constants: Arrays = {
        "sx": np.float32(0.05), "zx": np.uint8(128), "sw": np.full(16, 0.02, np.float32),
        "zw": np.zeros(16, np.int8), "sy": np.float32(0.1), "zy": np.uint8(100),
        "w": np.random.default_rng(1).integers(-90, 90, (16, 1, 3, 3)).astype(np.int8),
        "b": np.arange(16, dtype=np.int32), "flat": np.array([1, -1], np.int64),
        "m": np.random.default_rng(2).integers(-90, 90, (256, 16)).astype(np.int8),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        node("QLinearConv", ["q", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"], ["c"],
             pads=[1, 1, 1, 1]),
        node("DequantizeLinear", ["c", "sy", "zy"], ["d"]),
        node("Relu", ["d"], ["r"]),
        node("Reshape", ["r", "flat"], ["f"]),
        node("DynamicQuantizeLinear", ["f"], ["u", "us", "uz"]),
        node("MatMulInteger", ["u", "m", "uz"], ["i"]),
        node("Cast", ["i"], ["k"], to=_FLOAT),
        node("Mul", ["k", "us"], ["y"]),
    ]  # fmt: skip
    inputs, outputs = [_value("x", _FLOAT, [1, 1, 4, 4])], [_value("y", _FLOAT, [1, 16])]
    return _model(nodes, inputs, outputs, constants), {"x": _rows(3, 1, 4, 4)}


def _half() -> Made:
    """float16 throughout, bfloat16 and int8 on the way."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Clip", ["m", "low", "high"], ["c"]),
        node("Cast", ["c"], ["b"], to=TensorProto.BFLOAT16),
        node("Cast", ["b"], ["h"], to=_HALF),
        node("Mul", ["h", "s"], ["k"]),
        node("Cast", ["k"], ["i"], to=TensorProto.INT8),
        node("Cast", ["i"], ["y"], to=_HALF),
    ]
    constants: Arrays = {
        "w": _rows(16, 16).astype(np.float16), "low": np.float16(0), "high": np.float16(6),
        "s": np.float16(3),
    }  # fmt: skip
    inputs, outputs = [_value("x", _HALF, [1, 16])], [_value("y", _HALF, [1, 16])]
    return _model(nodes, inputs, outputs, constants), {"x": _rows(3, 16).astype(np.float16)}


def _branches() -> Made:
    """If, Loop and Scan, each over the tensors around it."""
    node = helper.make_node
    body = helper.make_graph(
        [
            node("Relu", ["state"], ["kept"]),
            node("Add", ["kept", "x"], ["next"]),
            node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            _value("i", _INT64, []),
            _value("go", TensorProto.BOOL, []),
            _value("state", _FLOAT, None),
        ],
        [_value("on", TensorProto.BOOL, []), _value("next", _FLOAT, None)],
    )
    scanned = helper.make_graph(
        [node("Add", ["sum", "row"], ["total"]), node("Tanh", ["total"], ["out"])],
        "scan",
        [_value("sum", _FLOAT, [16]), _value("row", _FLOAT, [16])],
        [_value("total", _FLOAT, [16]), _value("out", _FLOAT, [16])],
    )

    def branch(name: str, op: str) -> onnx.GraphProto:
        return helper.make_graph([node(op, ["s"], [name])], name, [], [_value(name, _FLOAT, None)])

    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Loop", ["three", "yes", "m"], ["l"], body=body),
        node("Scan", ["zero", "l"], ["last", "rows"], body=scanned, num_scan_inputs=1),
        node("ReduceSum", ["rows"], ["r"], keepdims=0),
        node("Greater", ["r", "half"], ["large"]),
        node("Add", ["l", "last"], ["s"]),
        node("If", ["large"], ["y"], then_branch=branch("t", "Relu"),
             else_branch=branch("e", "Neg")),
    ]  # fmt: skip
    constants: Arrays = {
        "w": _rows(16, 16), "three": np.array(3, np.int64), "yes": np.array(True),
        "zero": np.zeros(16, np.float32), "half": np.array(0.5, np.float32),
    }  # fmt: skip
    inputs, outputs = [_value("x", _FLOAT, [1, 16])], [_value("y", _FLOAT, [1, 16])]
    return _model(nodes, inputs, outputs, constants), {"x": _rows(3, 16)}


def _text() -> Made:
    """Text beside numbers; text comes out, too."""
    node = helper.make_node
    nodes = [
        node("StringConcat", ["words", "ending"], ["longer"]),
        node("Cast", ["x"], ["written"], to=TensorProto.STRING),
        node("Cast", ["written"], ["back"], to=_FLOAT),
        node("MatMul", ["back", "w"], ["y"]),
    ]
    inputs = [_value("x", _FLOAT, [1, 16]), _value("words", TensorProto.STRING, [2])]
    outputs = [_value("y", _FLOAT, [1, 16]), _value("longer", TensorProto.STRING, [2])]
    words = np.array(["One", "Zwei", "ÉÉ", "\u202eno", "five", "6"])
    constants: Arrays = {"w": _rows(16, 16), "ending": np.array(["!"], object)}
    arrays = {"x": _rows(3, 16), "words": words}
    return _model(nodes, inputs, outputs, constants, 20), arrays


def _sequence() -> Made:
    """A sequence, an optional that is there and one that is not."""
    node = helper.make_node
    tensor = helper.make_tensor_type_proto(_FLOAT, [1, 16])
    sequence = helper.make_sequence_type_proto(tensor)
    optional = helper.make_optional_type_proto(tensor)
    nodes = [
        node("ConcatFromSequence", ["s"], ["all"], axis=0),
        node("ReduceSum", ["all"], ["sum"], keepdims=1),
        node("OptionalHasElement", ["o"], ["has"]),
        node("Cast", ["has"], ["one"], to=_FLOAT),
        node("Mul", ["sum", "one"], ["scaled"]),
        node("Add", ["x", "scaled"], ["a"]),
        node("MatMul", ["a", "w"], ["y"]),
        node("SequenceInsert", ["s", "y"], ["longer"]),
    ]
    inputs = [
        _value("x", _FLOAT, [1, 16]),
        helper.make_value_info("s", sequence),
        helper.make_value_info("o", optional),
    ]
    outputs = [_value("y", _FLOAT, [1, 16]), helper.make_value_info("longer", sequence)]
    arrays = {"x": _rows(1, 16), "s/0": _rows(1, 16), "s/1": -_rows(1, 16), "o": _rows(1, 16)}
    return _model(nodes, inputs, outputs, {"w": _rows(16, 16)}, 18), arrays


def _on_both() -> Made:
    """Layers of the NPU with one of the CPU between them: a package with both kinds of segments."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Erf", ["r"], ["e"]),
        node("Conv", ["e", "v"], ["d"]),
        node("GlobalAveragePool", ["d"], ["y"]),
    ]
    constants: Arrays = {"w": _rows(16, 1, 3, 3), "v": _rows(16, 16, 1, 1)}
    inputs, outputs = [_value("x", _FLOAT, [1, 1, 4, 4])], [_value("y", _FLOAT, [1, 16, 1, 1])]
    return _model(nodes, inputs, outputs, constants), {"x": _rows(3, 1, 4, 4)}


MODELS: dict[str, Callable[[], Made]] = {
    "opset1": _opset1,
    "opset6": _opset6,
    "qoperator": _quantized_operators,
    "half": _half,
    "branches": _branches,
    "text": _text,
    "sequence": _sequence,
    "both": _on_both,
}
"""By name; each makes the same model and data whenever it is called."""
