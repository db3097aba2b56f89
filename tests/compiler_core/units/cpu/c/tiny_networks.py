"""Networks of the kinds that run on microcontrollers, as exporters write them.

Random weights and small sizes; the forms are those of PyTorch, keras and their converters: channels
last behind Transpose, batch normalization apart, masks, tokens, labels as outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.recurrence import GATES

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {}

Build = Callable[[], onnx.ModelProto]


def exported(build: Build) -> Build:
    """Registers a network."""
    NETWORKS[build.__name__] = build
    return build


class Exported:
    """Builds a model.

    Args:
        opset: Of the model.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.random = np.random.default_rng(3)
        self._nodes: list[onnx.NodeProto] = []
        self._arrays: list[onnx.TensorProto] = []
        self._ports: tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]] = ([], [])

    def input(self, name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> str:
        self._ports[0].append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int = TensorProto.FLOAT) -> None:
        self._ports[1].append(helper.make_tensor_value_info(name, kind, None))

    def array(self, value: Any, dtype: str = "float32") -> str:
        name = f"w{len(self._arrays)}"
        self._arrays.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, *shape: int, scale: float = 0.0) -> str:
        inputs = max(1, int(np.prod(shape[1:])))
        return self.array(self.random.normal(0, scale or (1.5 / inputs) ** 0.5, shape))

    def whole(self, *values: int) -> str:
        return self.array(values, "int64")

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op}_{len(self._nodes)}_{k}" for k in range(outputs)]
        name = f"{op}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def conv(
        self,
        x: str,
        outputs: int,
        inputs: int,
        size: int | list[int],
        stride: int = 1,
        pads: list[int] | None = None,
        group: int = 1,
        act: str = "Relu",
    ) -> str:
        kernel = [size, size] if isinstance(size, int) else size
        known = {"strides": [stride] * len(kernel), "pads": pads or [k // 2 for k in kernel] * 2}
        parts = (self.weight(outputs, inputs // group, *kernel), self.few(outputs))
        y: str = self.node("Conv", x, *parts, group=group, **known)
        return self.node(act, y) if act else y

    def few(self, count: int) -> str:
        return self.array(self.random.normal(0, 0.1, count))

    def norm(self, x: str, channels: int) -> str:
        scales = [self.array(self.random.uniform(0.5, 1.5, channels)) for _ in range(2)]
        parts = (scales[0], self.few(channels), self.few(channels), scales[1])
        return str(self.node("BatchNormalization", x, *parts))

    def dense(self, x: str, outputs: int, inputs: int, act: str = "") -> str:
        y: str = self.node("Gemm", x, self.weight(outputs, inputs), self.few(outputs), transB=1)
        return self.node(act, y) if act else y

    def keras_dense(self, x: str, outputs: int, inputs: int, act: str = "") -> str:
        weight = self.weight(inputs, outputs, scale=(1.5 / inputs) ** 0.5)
        y: str = self.node("Add", self.node("MatMul", x, weight), self.few(outputs))
        return self.node(act, y) if act else y

    def recurrent(
        self, op: str, x: str, inputs: int, hidden: int, scale: float, *states: str, **more: Any
    ) -> Any:
        """States of all steps and the last ones, as PyTorch and Keras export them."""
        directions, gates = 2 if "direction" in more else 1, GATES[op] * hidden
        parts = [self.weight(directions, gates, size, scale=scale) for size in (inputs, hidden)]
        parts.append(self.weight(directions, 2 * gates, scale=0.1))
        parts += ["", *states] if states else []
        if op == "GRU":
            more["linear_before_reset"] = 1
        outputs = 3 if op == "LSTM" else 2
        return self.node(op, x, *parts, outputs=outputs, hidden_size=hidden, **more)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "net", *self._ports, self._arrays)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def data_of(model: onnx.ModelProto, count: int) -> list[dict[str, Any]]:
    """Random samples; tokens are below 5, which all tables have."""
    random = np.random.default_rng(0)
    kinds = {TensorProto.INT64: "int64", TensorProto.INT32: "int32", TensorProto.UINT8: "uint8"}
    found = []
    for _ in range(count):
        sample: dict[str, Any] = {}
        for port in model.graph.input:
            kind = port.type.tensor_type
            shape = [axis.dim_value for axis in kind.shape.dim]
            if kind.elem_type == TensorProto.FLOAT:
                sample[port.name] = random.normal(0, 1, shape).astype(np.float32)
            else:
                most = 256 if kind.elem_type == TensorProto.UINT8 else 5
                sample[port.name] = random.integers(0, most, shape).astype(kinds[kind.elem_type])
        found.append(sample)
    return found


@exported
def kws_dscnn_keras() -> onnx.ModelProto:
    b = Exported(15)
    x = b.input("mfcc", [1, 49, 10, 1])
    y = b.node("Transpose", x, perm=[0, 3, 1, 2])
    y = b.node("Conv", y, b.weight(16, 1, 10, 4), strides=[2, 2], auto_pad="SAME_UPPER")
    y = b.node("Relu", b.norm(y, 16))
    for _ in range(2):
        y = b.node("Conv", y, b.weight(16, 1, 3, 3), group=16, auto_pad="SAME_UPPER")
        y = b.node("Relu", b.norm(y, 16))
        y = b.node("Conv", y, b.weight(16, 16, 1, 1))
        y = b.node("Relu", b.norm(y, 16))
    y = b.node("AveragePool", y, kernel_shape=[25, 5])
    y = b.node("Transpose", y, perm=[0, 2, 3, 1])
    y = b.node("Reshape", y, b.whole(-1, 16))
    y = b.node("Softmax", b.keras_dense(y, 12, 16))
    b.output(y)
    return b.model()


@exported
def kws_cnn_argmax() -> onnx.ModelProto:
    b = Exported(13)
    x = b.input("x", [1, 1, 40, 49])
    y = b.conv(x, 8, 1, 3)
    y = b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.conv(y, 12, 8, 3, 2)
    y = b.node("GlobalAveragePool", y)
    y = b.dense(b.node("Flatten", y), 10, 12)
    y = b.node("Softmax", y, axis=1)
    z = b.node("ArgMax", y, axis=1, keepdims=0)
    b.output(y)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def anomaly_autoencoder() -> onnx.ModelProto:
    b = Exported(13)
    x = b.input("x", [1, 640])
    y = x
    i = 640
    for o in (64, 64, 8, 64, 64):
        y = b.node("Relu", b.norm(b.dense(y, o, i), o))
        i = o
    y = b.dense(y, 640, i)
    d = b.node("Sub", x, y)
    s = b.node("ReduceMean", b.node("Mul", d, d), axes=[1], keepdims=0)
    b.output(y)
    b.output(s)
    return b.model()


@exported
def anomaly_conv_autoencoder() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 64])
    y = b.conv(x, 8, 3, [5], 2, [2, 2])
    y = b.conv(y, 16, 8, [5], 2, [2, 2])
    y = b.node("Relu", b.node("ConvTranspose", y, b.weight(16, 8, 4), strides=[2], pads=[1, 1]))
    y = b.node("ConvTranspose", y, b.weight(8, 3, 4), strides=[2], pads=[1, 1])
    e = b.node("ReduceMax", b.node("Abs", b.node("Sub", x, y)), axes=[1, 2], keepdims=0)
    b.output(y)
    b.output(e)
    return b.model()


@exported
def person_detection_keras() -> onnx.ModelProto:
    b = Exported(13)
    x = b.input("x", [1, 48, 48, 1])
    y = b.node("Transpose", x, perm=[0, 3, 1, 2])
    y = b.node("Conv", y, b.weight(8, 1, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    y = b.node("Clip", y, b.array(0.0), b.array(6.0))
    c = 8
    for o, st in ((16, 1), (32, 2), (32, 1), (64, 2)):
        if st == 2:
            y = b.node("Pad", y, b.whole(0, 0, 0, 0, 0, 0, 1, 1), b.array(0.0))
            y = b.node("Conv", y, b.weight(c, 1, 3, 3), group=c, strides=[2, 2])
        else:
            y = b.node("Conv", y, b.weight(c, 1, 3, 3), group=c, auto_pad="SAME_UPPER")
        y = b.node("Clip", y, b.array(0.0), b.array(6.0))
        y = b.node("Clip", b.node("Conv", y, b.weight(o, c, 1, 1)), b.array(0.0), b.array(6.0))
        c = o
    y = b.node("ReduceMean", y, axes=[2, 3], keepdims=1)
    y = b.node("Conv", y, b.weight(2, c, 1, 1))
    y = b.node("Transpose", y, perm=[0, 2, 3, 1])
    y = b.node("Reshape", y, b.whole(1, 2))
    y = b.node("Softmax", y)
    b.output(y)
    return b.model()


@exported
def gesture_lstm_keras() -> onnx.ModelProto:
    b = Exported(15)
    x = b.input("x", [1, 32, 6])
    y = b.node("Transpose", x, perm=[1, 0, 2])
    hidden = 10
    z = b.array(np.zeros((1, 1, hidden)))
    y, hh, _ = b.recurrent("LSTM", y, 6, hidden, 0.4, z, z)
    y = b.node("Squeeze", hh, b.whole(0))
    y = b.node("Softmax", b.keras_dense(y, 5, hidden))
    b.output(y)
    return b.model()


@exported
def gesture_gru_argmax() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 20, 6])
    y = b.node("Transpose", x, perm=[1, 0, 2])
    hidden = 8
    y, _ = b.recurrent("GRU", y, 6, hidden, 0.4)
    y = b.node("Transpose", b.node("Squeeze", y, b.whole(1)), perm=[1, 0, 2])
    y = b.node("Gather", y, b.array(-1, "int64"), axis=1)
    y = b.dense(y, 6, hidden)
    z = b.node("ArgMax", y, axis=-1, keepdims=0)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def accel_cnn1d() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 128])
    y = x
    c = 3
    for o in (8, 16, 16):
        y = b.node("Relu", b.norm(b.node("Conv", y, b.weight(o, c, 5), pads=[2, 2]), o))
        y = b.node("MaxPool", y, kernel_shape=[2], strides=[2])
        c = o
    y = b.node("Dropout", y, outputs=1)
    y = b.node("Flatten", y)
    y = b.dense(y, 32, 16 * 16, "Relu")
    y = b.dense(y, 6, 32)
    y = b.node("LogSoftmax", y, axis=1)
    b.output(y)
    return b.model()


@exported
def accel_cnn1d_keras() -> onnx.ModelProto:
    b = Exported(15)
    x = b.input("x", [1, 128, 3])
    y = b.node("Transpose", x, perm=[0, 2, 1])
    y = b.node("Unsqueeze", y, b.whole(2))
    c = 3
    for o in (8, 16):
        y = b.node(
            "Relu", b.node("Conv", y, b.weight(o, c, 1, 5), b.weight(o), auto_pad="SAME_UPPER")
        )
        y = b.node("MaxPool", y, kernel_shape=[1, 3], strides=[1, 3], auto_pad="SAME_UPPER")
        c = o
    y = b.node("Squeeze", y, b.whole(2))
    y = b.node("Transpose", y, perm=[0, 2, 1])
    m = b.node("ReduceMax", y, axes=[1], keepdims=0)
    a = b.node("ReduceMean", y, axes=[1], keepdims=0)
    y = b.node("Concat", m, a, axis=-1)
    y = b.node("Softmax", b.keras_dense(y, 6, 2 * c))
    b.output(y)
    return b.model()


@exported
def temporal_conv() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 9, 60])
    y = x
    c = 9
    for d in (1, 2, 4):
        r = y if c == 16 else b.node("Conv", y, b.weight(16, c, 1), b.weight(16))
        z = b.node("Pad", y, b.whole(0, 0, 2 * d, 0, 0, 0))
        z = b.node("Relu", b.node("Conv", z, b.weight(16, c, 3), b.weight(16), dilations=[d]))
        z = b.node("Pad", z, b.whole(0, 0, 2 * d, 0, 0, 0))
        z = b.node("Relu", b.node("Conv", z, b.weight(16, 16, 3), b.weight(16), dilations=[d]))
        y = b.node("Relu", b.node("Add", z, r))
        c = 16
    y = b.node("Slice", y, b.whole(-1), b.whole(2**63 - 1), b.whole(2))
    y = b.node("Squeeze", y, b.whole(2))
    y = b.dense(y, 4, 16)
    b.output(y)
    return b.model()


@exported
def small_transformer() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 16, 12])
    width = 16
    parts = 2
    y = b.keras_dense(x, width, 12)
    y = b.node("Add", y, b.weight(1, 16, width, scale=0.1))
    y = b.node("Concat", b.weight(1, 1, width, scale=0.3), y, axis=1)
    length = 17
    for _ in range(2):

        def heads(q, perm):
            return b.node(
                "Transpose",
                b.node("Reshape", q, b.whole(1, length, parts, width // parts)),
                perm=perm,
            )

        q, k, v = (b.keras_dense(y, width, width) for _ in range(3))
        s = b.node(
            "Softmax",
            b.node(
                "Mul",
                b.node("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1])),
                b.array((width // parts) ** -0.5),
            ),
            axis=-1,
        )
        a = b.node(
            "Reshape",
            b.node("Transpose", b.node("MatMul", s, heads(v, [0, 2, 1, 3])), perm=[0, 2, 1, 3]),
            b.whole(1, length, width),
        )
        y = b.node(
            "LayerNormalization",
            b.node("Add", y, b.keras_dense(a, width, width)),
            b.array(np.ones(width)),
            b.array(np.zeros(width)),
            axis=-1,
        )
        z = b.keras_dense(y, 32, width)
        g = b.node(
            "Mul",
            b.node(
                "Mul",
                z,
                b.node("Add", b.node("Erf", b.node("Div", z, b.array(2**0.5))), b.array(1.0)),
            ),
            b.array(0.5),
        )
        y = b.node(
            "LayerNormalization",
            b.node("Add", y, b.keras_dense(g, width, 32)),
            b.array(np.ones(width)),
            b.array(np.zeros(width)),
            axis=-1,
        )
    y = b.node("Gather", y, b.array(0, "int64"), axis=1)
    y = b.dense(y, 5, width)
    b.output(y)
    return b.model()


@exported
def token_classifier() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("tokens", [1, 12], TensorProto.INT64)
    y = b.node("Gather", b.weight(50, 16, scale=1.0), x)
    y = b.node("ReduceMean", y, axes=[1], keepdims=0)
    y = b.dense(y, 16, 16, "Relu")
    y = b.dense(y, 3, 16)
    z = b.node("ArgMax", y, axis=1, keepdims=0)
    b.output(y)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def token_transformer() -> onnx.ModelProto:
    b = Exported(17)
    length = 12
    width = 16
    x = b.input("tokens", [1, length], TensorProto.INT32)
    y = b.node("Gather", b.weight(40, width, scale=1.0), x)
    y = b.node(
        "Add",
        y,
        b.node("Gather", b.weight(20, width, scale=1.0), b.array(np.arange(length)[None], "int64")),
    )
    q, k, v = (b.keras_dense(y, width, width) for _ in range(3))
    s = b.node(
        "Softmax",
        b.node("Div", b.node("MatMul", q, b.node("Transpose", k, perm=[0, 2, 1])), b.array(4.0)),
        axis=-1,
    )
    y = b.node("Add", y, b.node("MatMul", s, v))
    y = b.node("LayerNormalization", y, b.array(np.ones(width)), b.array(np.zeros(width)), axis=-1)
    y = b.keras_dense(y, 40, width)
    z = b.node("ArgMax", y, axis=-1, keepdims=0)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def char_gru_embedding() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("tokens", [1, 10], TensorProto.INT64)
    y = b.node("Gather", b.weight(30, 8, scale=1.0), x)
    y = b.node("Transpose", y, perm=[1, 0, 2])
    hidden = 8
    y, hh = b.recurrent("GRU", y, 8, hidden, 0.4)
    y = b.dense(b.node("Squeeze", hh, b.whole(0)), 4, hidden)
    b.output(y)
    return b.model()


@exported
def pointnet() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("points", [1, 64, 3])
    y = b.node("Transpose", x, perm=[0, 2, 1])
    c = 3
    for o in (16, 32, 64):
        y = b.node("Relu", b.norm(b.node("Conv", y, b.weight(o, c, 1), b.weight(o)), o))
        c = o
    g = b.node("ReduceMax", y, axes=[2], keepdims=1)
    e = b.node("Expand", g, b.whole(1, 64, 64))
    y = b.node("Concat", y, e, axis=1)
    y = b.node("Relu", b.node("Conv", y, b.weight(32, 128, 1), b.weight(32)))
    y = b.node("Conv", y, b.weight(4, 32, 1), b.weight(4))
    y = b.node("Transpose", y, perm=[0, 2, 1])
    p = b.node("LogSoftmax", y, axis=-1)
    z = b.node("ArgMax", y, axis=2, keepdims=0)
    b.output(p)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def wakeword_crnn() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 1, 40, 51])
    y = b.node("Conv", x, b.weight(8, 1, 20, 5), b.weight(8), strides=[8, 2])
    y = b.node("Relu", y)
    y = b.node("Transpose", y, perm=[3, 0, 1, 2])
    y = b.node("Reshape", y, b.whole(24, 1, 24))
    hidden = 16
    y, hh = b.recurrent("GRU", y, 24, hidden, 0.3, direction="bidirectional")
    y = b.node("Transpose", hh, perm=[1, 0, 2])
    y = b.node("Reshape", y, b.whole(1, 2 * hidden))
    y = b.dense(y, 16, 2 * hidden, "Relu")
    y = b.node("Sigmoid", b.dense(y, 1, 16))
    b.output(y)
    return b.model()


@exported
def wakeword_attention_gru() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 24, 20])
    y = b.node("Transpose", x, perm=[1, 0, 2])
    hidden = 12
    y, _ = b.recurrent("GRU", y, 20, hidden, 0.3)
    y = b.node("Transpose", b.node("Squeeze", y, b.whole(1)), perm=[1, 0, 2])
    s = b.node("MatMul", b.node("Tanh", b.keras_dense(y, 8, hidden)), b.weight(8, 1))
    s = b.node("Softmax", s, axis=1)
    y = b.node("ReduceSum", b.node("Mul", y, s), b.whole(1), keepdims=0)
    y = b.node("Sigmoid", b.dense(y, 1, hidden))
    b.output(y)
    return b.model()


@exported
def audio_front_end_conv() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("wave", [1, 1600])
    y = b.node("Unsqueeze", x, b.whole(1))
    y = b.node("Conv", y, b.weight(40, 1, 64), strides=[32], pads=[16, 16])
    re = b.node("Slice", y, b.whole(0), b.whole(20), b.whole(1))
    im = b.node("Slice", y, b.whole(20), b.whole(40), b.whole(1))
    m = b.node("Add", b.node("Mul", re, re), b.node("Mul", im, im))
    mel = b.node("MatMul", b.array(np.abs(b.random.normal(0, 0.2, (10, 20)))), m)
    logs = b.node("Log", b.node("Add", mel, b.array(1e-4)))
    y = b.node("Unsqueeze", logs, b.whole(1))
    y = b.conv(y, 8, 1, 3, 2)
    y = b.node("ReduceMean", y, axes=[2, 3], keepdims=0)
    y = b.dense(y, 4, 8)
    b.output(y)
    return b.model()


@exported
def audio_leaf_pcen() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("wave", [1, 1, 1000])
    y = b.node("Conv", x, b.weight(16, 1, 25), strides=[1], pads=[12, 12])
    y = b.node("Mul", y, y)
    y = b.node("AveragePool", y, kernel_shape=[50], strides=[25])
    y = b.node("Pow", b.node("Max", y, b.array(1e-5)), b.array(0.3))
    mu = b.node("ReduceMean", y, axes=[2], keepdims=1)
    d = b.node("Sub", y, mu)
    sd = b.node(
        "Sqrt",
        b.node(
            "Add", b.node("ReduceMean", b.node("Mul", d, d), axes=[2], keepdims=1), b.array(1e-5)
        ),
    )
    y = b.node("Div", d, sd)
    y = b.conv(y, 16, 16, [3], 2, [1, 1])
    y = b.node("ReduceMax", y, axes=[2], keepdims=0)
    y = b.dense(y, 3, 16)
    b.output(y)
    return b.model()


@exported
def segmentation_unet() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 32, 32])
    a = b.conv(x, 8, 3, 3)
    d = b.node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    d = b.conv(d, 16, 8, 3)
    e = b.node("MaxPool", d, kernel_shape=[2, 2], strides=[2, 2])
    e = b.conv(e, 16, 16, 3)
    u = b.node(
        "Resize",
        e,
        "",
        b.array([1, 1, 2, 2]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    u = b.conv(b.node("Concat", u, d, axis=1), 8, 32, 3)
    u = b.node("ConvTranspose", u, b.weight(8, 8, 2, 2), strides=[2, 2])
    u = b.conv(b.node("Concat", u, a, axis=1), 8, 16, 3)
    y = b.node("Conv", u, b.weight(3, 8, 1, 1))
    z = b.node("ArgMax", y, axis=1, keepdims=0)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def segmentation_nhwc_keras() -> onnx.ModelProto:
    b = Exported(13)
    x = b.input("x", [1, 32, 32, 3])
    y = b.node("Transpose", x, perm=[0, 3, 1, 2])
    y = b.node("Conv", y, b.weight(8, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    y = b.node("Relu", y)
    y = b.node("Conv", y, b.weight(8, 8, 3, 3), auto_pad="SAME_UPPER")
    y = b.node("Sigmoid", y)
    y = b.node(
        "Resize",
        y,
        "",
        b.array([1, 1, 2, 2]),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    y = b.node("Conv", y, b.weight(4, 8, 1, 1))
    y = b.node("Transpose", y, perm=[0, 2, 3, 1])
    z = b.node("ArgMax", y, axis=3, keepdims=0)
    s = b.node("Softmax", y, axis=-1)
    b.output(s)
    b.output(z, kind=TensorProto.INT64)
    return b.model()


@exported
def video_conv3d() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 1, 8, 16, 16])
    y = b.node("Conv", x, b.weight(6, 1, 3, 3, 3), b.weight(6), pads=[1] * 6)
    y = b.node("Relu", y)
    y = b.node("MaxPool", y, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    y = b.node("Relu", b.node("Conv", y, b.weight(8, 6, 3, 3, 3), b.weight(8), pads=[1] * 6))
    y = b.node("AveragePool", y, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    y = b.node("GlobalAveragePool", y)
    y = b.dense(b.node("Flatten", y), 4, 8)
    b.output(y)
    return b.model()


@exported
def detector_topk() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 32, 32])
    y = b.conv(x, 8, 3, 3, 2)
    y = b.conv(y, 12, 8, 3, 2)
    hm = b.node("Sigmoid", b.node("Conv", y, b.weight(2, 12, 1, 1)))
    wh = b.node("Conv", y, b.weight(4, 12, 1, 1))
    f = b.node("Reshape", hm, b.whole(1, -1))
    v, i = b.node("TopK", f, b.whole(5), axis=1, outputs=2)
    b.output(v)
    b.output(i, kind=TensorProto.INT64)
    b.output(wh)
    return b.model()


@exported
def mixer() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 20, 16])
    y = b.keras_dense(x, 16, 16)
    for _ in range(2):
        z = b.node("LayerNormalization", y, b.array(np.ones(16)), b.array(np.zeros(16)), axis=-1)
        z = b.node("Transpose", z, perm=[0, 2, 1])
        z = b.keras_dense(z, 24, 20)
        z = b.node("Mul", z, b.node("Sigmoid", z))
        z = b.keras_dense(z, 20, 24)
        y = b.node("Add", y, b.node("Transpose", z, perm=[0, 2, 1]))
        z = b.keras_dense(y, 32, 16, "Relu")
        y = b.node("Add", y, b.keras_dense(z, 16, 32))
    y = b.node("ReduceMean", y, axes=[1], keepdims=0)
    y = b.dense(y, 4, 16)
    b.output(y)
    return b.model()


@exported
def mobilenet_v3_se() -> onnx.ModelProto:
    b = Exported(13)
    x = b.input("x", [1, 3, 32, 32])
    y = b.conv(x, 8, 3, 3, 2, act="")
    s = b.node(
        "Div",
        b.node("Clip", b.node("Add", y, b.array(3.0)), b.array(0.0), b.array(6.0)),
        b.array(6.0),
    )
    y = b.node("Mul", y, s)
    y = b.conv(y, 24, 8, 1)
    y = b.conv(y, 24, 24, 5, 2, group=24)
    p = b.node("GlobalAveragePool", y)
    p = b.conv(p, 8, 24, 1)
    p = b.conv(p, 24, 8, 1, act="")
    p = b.node("HardSigmoid", p, alpha=1 / 6, beta=0.5)
    y = b.node("Mul", y, p)
    y = b.conv(y, 12, 24, 1, act="")
    y = b.node("GlobalAveragePool", y)
    y = b.node("Reshape", y, b.whole(1, -1))
    y = b.dense(y, 5, 12)
    b.output(y)
    return b.model()


@exported
def resnet_tiny_channels_shuffle() -> onnx.ModelProto:
    b = Exported(11)
    x = b.input("x", [1, 3, 24, 24])
    y = b.conv(x, 16, 3, 3, 2)
    left, r = b.node("Split", y, outputs=2, axis=1, split=[8, 8])
    r = b.conv(r, 8, 8, 1)
    r = b.conv(r, 8, 8, 3, group=8, act="")
    r = b.conv(r, 8, 8, 1)
    y = b.node("Concat", left, r, axis=1)
    y = b.node("Reshape", y, b.whole(1, 2, 8, 12, 12))
    y = b.node("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = b.node("Reshape", y, b.whole(1, 16, 12, 12))
    y = b.node("GlobalAveragePool", y)
    y = b.dense(b.node("Flatten", y), 4, 16)
    b.output(y)
    return b.model()


@exported
def eeg_net() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 1, 8, 96])
    y = b.norm(b.node("Conv", x, b.weight(4, 1, 1, 16), pads=[0, 8, 0, 7]), 4)
    y = b.node("Elu", b.norm(b.node("Conv", y, b.weight(8, 1, 8, 1), group=4), 8))
    y = b.node("AveragePool", y, kernel_shape=[1, 4], strides=[1, 4])
    y = b.node("Conv", y, b.weight(8, 1, 1, 8), group=8, pads=[0, 4, 0, 3])
    y = b.node("Elu", b.norm(b.node("Conv", y, b.weight(8, 8, 1, 1)), 8))
    y = b.node("AveragePool", y, kernel_shape=[1, 8], strides=[1, 8])
    y = b.dense(b.node("Flatten", y), 3, 24)
    b.output(b.node("Softmax", y))
    return b.model()


@exported
def one_hot_categorical() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 4])
    c = b.input("kind", [1], TensorProto.INT64)
    o = b.node("OneHot", c, b.array(5, "int64"), b.array([0.0, 1.0]), axis=-1)
    y = b.node("Concat", x, o, axis=1)
    y = b.dense(y, 12, 9, "Relu")
    b.output(b.dense(y, 2, 12))
    return b.model()


@exported
def threshold_flag() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 20])
    y = b.dense(x, 8, 20, "Relu")
    y = b.node("Sigmoid", b.dense(y, 1, 8))
    f = b.node("Cast", b.node("Greater", y, b.array(0.5)), to=TensorProto.FLOAT)
    b.output(y)
    b.output(f)
    return b.model()


@exported
def where_mask() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 10, 8])
    y = b.keras_dense(x, 8, 8)
    m = b.array(np.triu(np.ones((10, 10)), 1) == 0, "bool")
    s = b.node("MatMul", y, b.node("Transpose", x, perm=[0, 2, 1]))
    s = b.node("Where", m, s, b.array(-1e4))
    s = b.node("Softmax", s, axis=-1)
    y = b.node("MatMul", s, y)
    b.output(b.node("ReduceMean", y, axes=[1], keepdims=0))
    return b.model()


@exported
def rmsnorm_swiglu() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 12, 16])
    v = b.node("ReduceMean", b.node("Pow", x, b.array(2.0)), axes=[-1], keepdims=1)
    y = b.node("Mul", x, b.node("Reciprocal", b.node("Sqrt", b.node("Add", v, b.array(1e-5)))))
    y = b.node("Mul", y, b.array(np.ones(16)))
    g = b.keras_dense(y, 24, 16)
    g = b.node("Mul", g, b.node("Sigmoid", g))
    y = b.node("Mul", g, b.keras_dense(y, 24, 16))
    y = b.node("Add", x, b.keras_dense(y, 16, 24))
    b.output(b.dense(b.node("ReduceMean", y, axes=[1], keepdims=0), 4, 16))
    return b.model()


@exported
def cumulative_sensor() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 50])
    y = b.node("CumSum", x, b.array(2, "int64"))
    y = b.conv(y, 8, 3, [5], 2, [2, 2])
    y = b.node("ReduceL2", y, axes=[2], keepdims=0)
    b.output(b.dense(y, 3, 8))
    return b.model()


@exported
def uint8_image() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 16, 16, 1], TensorProto.UINT8)
    y = b.node("Cast", x, to=TensorProto.FLOAT)
    y = b.node("Div", y, b.array(255.0))
    y = b.node("Transpose", y, perm=[0, 3, 1, 2])
    y = b.conv(y, 8, 1, 3, 2)
    y = b.node("GlobalAveragePool", y)
    b.output(b.dense(b.node("Flatten", y), 3, 8))
    return b.model()


@exported
def prototype_distance() -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 16])
    y = b.dense(x, 8, 16)
    d = b.node("Sub", b.node("Unsqueeze", y, b.whole(1)), b.weight(1, 5, 8, scale=1.0))
    d = b.node("ReduceSum", b.node("Mul", d, d), b.whole(2), keepdims=0)
    z = b.node("ArgMin", d, axis=1)
    b.output(d)
    b.output(z, kind=TensorProto.INT64)
    return b.model()
