"""Networks of usual shapes with seeded random weights, for latencies alone: ResNet-18, branches
that are concatenated, residual blocks of depthwise convolutions, the encoder of a transformer, and
one step of a decoder with its cache of keys and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17


class RandomNetwork:
    """Collects nodes and random weights of a network.

    Args:
        seed: Of the weights.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        by = (2 / fan_in) ** 0.5 if scale is None else scale
        return self.constant((self.random.normal(size=shape) * by).astype(np.float32))

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [name], f"{op}_{len(self.nodes)}", **attributes)
        )
        return name

    def conv(
        self, x: str, outputs: int, inputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> str:
        bias = self.constant((self.random.normal(size=outputs) * 0.01).astype(np.float32))
        pads = [kernel // 2] * 4
        names = [x, self.weight(outputs, inputs // groups, kernel, kernel), bias]
        return self.add("Conv", names, strides=[stride] * 2, pads=pads, group=groups)

    def gemm(self, x: str, inputs: int, outputs: int, output: str = "") -> str:
        names = [x, self.weight(inputs, outputs), self.weight(outputs, scale=0.01)]
        return self.add("Gemm", names, output)

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        product = self.add("MatMul", [x, self.weight(inputs, outputs, scale=inputs**-0.5)])
        bias = self.constant((self.random.normal(size=outputs) * 0.02).astype(np.float32))
        return self.add("Add", [product, bias])

    def norm(self, x: str, size: int) -> str:
        scale = self.constant((1 + 0.1 * self.random.normal(size=size)).astype(np.float32))
        shift = self.constant((0.1 * self.random.normal(size=size)).astype(np.float32))
        return self.add("LayerNormalization", [x, scale, shift], axis=-1)

    def gelu(self, x: str) -> str:
        scaled = self.add("Div", [x, self.scalar(2**0.5)])
        raised = self.add("Add", [self.add("Erf", [scaled]), self.scalar(1.0)])
        return self.add("Mul", [self.add("Mul", [x, raised]), self.scalar(0.5)])

    def scalar(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def shape(self, x: str, *sizes: int) -> str:
        return self.add("Reshape", [x, self.constant(np.array(sizes, np.int64))])

    def model(
        self, inputs: dict[str, tuple[int, list[int]]], outputs: dict[str, list[int]]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(n, kind, s) for n, (kind, s) in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            self.weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def resnet18(size: int = 224) -> onnx.ModelProto:
    """ResNet-18 with batch normalization folded."""
    n = RandomNetwork(18)
    x = n.add("Relu", [n.conv("x", 64, 3, 7, 2)])
    x = n.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inside = 64
    for outside, stride in (
        (64, 1),
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
    ):
        y = n.add("Relu", [n.conv(x, outside, inside, 3, stride)])
        y = n.conv(y, outside, outside, 3)
        if (outside, stride) != (inside, 1):
            x = n.conv(x, outside, inside, 1, stride)
        x, inside = n.add("Relu", [n.add("Add", [y, x])]), outside
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x])])
    n.add("Gemm", [x, n.weight(512, 1000), n.weight(1000, scale=0.01)], "y")
    return n.model({"x": (TensorProto.FLOAT, [1, 3, size, size])}, {"y": [1, 1000]})


def fire(size: int = 128) -> onnx.ModelProto:
    """Squeezed, and expanded by three branches that are concatenated."""
    n = RandomNetwork(77)
    x = n.add("Relu", [n.conv("x", 32, 3, 3, 2)])
    x, inside = n.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2]), 32
    for number, (squeezed, outside) in enumerate(((12, 48), (16, 56), (20, 72), (24, 96))):
        y = n.add("Relu", [n.conv(x, squeezed, inside, 1)])
        branches = [(outside, 1), (outside, 3), (outside // 2, 3)]
        parts = [n.add("Relu", [n.conv(y, out, squeezed, kernel)]) for out, kernel in branches]
        x, inside = n.add("Concat", parts, axis=1), sum(out for out, _ in branches)
        if number == 1:
            x = n.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    x = n.add("GlobalAveragePool", [n.conv(x, 20, inside, 1)])
    n.add("Flatten", [x], "y")
    return n.model({"x": (TensorProto.FLOAT, [1, 3, size, size])}, {"y": [1, 20]})


def bottlenecks(size: int = 96) -> onnx.ModelProto:
    """Residual blocks of pointwise and depthwise convolutions."""
    n = RandomNetwork(78)
    x, inside = n.add("Relu", [n.conv("x", 24, 3, 3, 2)]), 24
    for outside, stride in ((24, 1), (48, 2), (48, 1), (80, 2)):
        y = n.add("Relu", [n.conv(x, outside, inside, 1)])
        y = n.add("Relu", [n.conv(y, outside, outside, 3, stride, outside)])
        y = n.conv(y, outside, outside, 1)
        if (outside, stride) != (inside, 1):
            x = n.conv(x, outside, inside, 1, stride)
        x, inside = n.add("Relu", [n.add("Add", [y, x])]), outside
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x])])
    n.gemm(x, inside, 12, "y")
    return n.model({"x": (TensorProto.FLOAT, [1, 3, size, size])}, {"y": [1, 12]})


def small() -> onnx.ModelProto:
    """Six operators with a residual: few enough to try everything."""
    n = RandomNetwork(6)
    x = n.add("Relu", [n.conv("x", 24, 3, 3)])
    y = n.add("Relu", [n.conv(x, 24, 24, 3)])
    x = n.add("Relu", [n.add("Add", [n.conv(y, 24, 24, 3), x])])
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x])])
    n.add("Gemm", [x, n.weight(24, 10), n.weight(10, scale=0.01)], "y")
    return n.model({"x": (TensorProto.FLOAT, [1, 3, 32, 32])}, {"y": [1, 10]})


def encoder(
    layers: int = 4, hidden: int = 256, heads: int = 4, length: int = 64
) -> onnx.ModelProto:
    """Layers of a transformer's encoder over a sequence of vectors."""
    n = RandomNetwork(4)
    x, per_head = "x", hidden // heads
    for _ in range(layers):
        parts = [n.shape(n.dense(x, hidden, hidden), 1, length, heads, per_head) for _ in range(3)]
        q, v = (n.add("Transpose", [part], perm=[0, 2, 1, 3]) for part in (parts[0], parts[2]))
        k = n.add("Transpose", [parts[1]], perm=[0, 2, 3, 1])
        scores = n.add("Mul", [n.add("MatMul", [q, k]), n.scalar(per_head**-0.5)])
        mixed = n.add("MatMul", [n.add("Softmax", [scores], axis=-1), v])
        joined = n.shape(n.add("Transpose", [mixed], perm=[0, 2, 1, 3]), 1, length, hidden)
        x = n.norm(n.add("Add", [x, n.dense(joined, hidden, hidden)]), hidden)
        inner = n.gelu(n.dense(x, hidden, 4 * hidden))
        x = n.norm(n.add("Add", [x, n.dense(inner, 4 * hidden, hidden)]), hidden)
    n.add("Identity", [x], "y")
    return n.model({"x": (TensorProto.FLOAT, [1, length, hidden])}, {"y": [1, length, hidden]})


def decoder(
    layers: int = 4, hidden: int = 256, heads: int = 4, past: int = 127, words: int = 4096
) -> onnx.ModelProto:
    """One token through a decoder with a cache, up to the scores of all words."""
    n = RandomNetwork(5)
    x, per_head = "x", hidden // heads
    inputs = {"x": (TensorProto.FLOAT, [1, 1, hidden])}
    for layer in range(layers):
        normed = n.norm(x, hidden)
        q, k, v = (
            n.shape(n.dense(normed, hidden, hidden), 1, heads, 1, per_head) for _ in range(3)
        )
        names = f"k{layer}", f"v{layer}"
        inputs |= {name: (TensorProto.FLOAT, [1, heads, past, per_head]) for name in names}
        keys, values = (
            n.add("Concat", [name, fresh], axis=2)
            for name, fresh in zip(names, (k, v), strict=True)
        )
        turned = n.add("Transpose", [keys], perm=[0, 1, 3, 2])
        scores = n.add("Mul", [n.add("MatMul", [q, turned]), n.scalar(per_head**-0.5)])
        mixed = n.add("MatMul", [n.add("Softmax", [scores], axis=-1), values])
        x = n.add("Add", [x, n.dense(n.shape(mixed, 1, 1, hidden), hidden, hidden)])
        inner = n.gelu(n.dense(n.norm(x, hidden), hidden, 4 * hidden))
        x = n.add("Add", [x, n.dense(inner, 4 * hidden, hidden)])
    n.add("MatMul", [n.norm(x, hidden), n.weight(hidden, words, scale=hidden**-0.5)], "y")
    return n.model(inputs, {"y": [1, 1, words]})


NETWORKS = {
    "small": small,
    "fire": fire,
    "bottlenecks": bottlenecks,
    "resnet18": resnet18,
    "encoder": encoder,
    "decoder": decoder,
}


def write(name: str, folder: Path, samples: int = 16) -> Path:
    """Writes a network and random samples of its inputs; returns the folder of both."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    model = NETWORKS[name]()
    onnx.save(model, own / "model.onnx")
    random = np.random.default_rng(0)
    for file in ("calib", "eval"):
        arrays = {}
        for value in model.graph.input:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            arrays[value.name] = random.normal(size=(samples, *shape[1:])).astype(np.float32)
        np.savez(own / f"{file}.npz", **arrays)
    return own
