"""Small ONNX models with seeded weights, each for one property of the compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Collects nodes and weights of one model."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n_{output}", **attributes))
        return output

    def conv(self, source: str, output: str, shape: tuple[int, ...], **attributes: object) -> str:
        fan_in = shape[1] * shape[2] * shape[3]
        weight = (self.random.normal(size=shape) / np.sqrt(fan_in)).astype("f4")
        bias = self.random.normal(size=shape[0]).astype("f4") / np.float32(4)
        names = [self.constant(f"{output}_w", weight), self.constant(f"{output}_b", bias)]
        pad = shape[2] // 2
        attributes.setdefault("pads", [pad, pad, pad, pad])
        return self.add("Conv", [source, *names], output, **attributes)

    def dense(self, source: str, output: str, features: int, results: int) -> str:
        weight = (self.random.normal(size=(features, results)) / np.sqrt(features)).astype("f4")
        bias = self.random.normal(size=results).astype("f4") / np.float32(4)
        names = [self.constant(f"{output}_w", weight), self.constant(f"{output}_b", bias)]
        return self.add("Gemm", [source, *names], output)

    def model(self, inputs: dict[str, list[object]], outputs: dict[str, list[object]]) -> bytes:
        def values(shapes: dict[str, list[object]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self.nodes, "synthetic", values(inputs), values(outputs), self.weights
        )
        opsets = [helper.make_opsetid("", 17)]
        content: bytes = helper.make_model(
            graph, opset_imports=opsets, ir_version=10
        ).SerializeToString()
        return content


def residual() -> bytes:
    """Few-channel stem, odd channel counts, residual, max pool, global pool, dense."""
    b = Builder(1)
    b.conv("x", "c1", (20, 3, 3, 3))
    b.add("Relu", ["c1"], "r1")
    b.conv("r1", "c2", (20, 20, 3, 3))
    b.add("Add", ["c2", "r1"], "a")
    b.add("Relu", ["a"], "r2")
    b.add("MaxPool", ["r2"], "m", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b.conv("m", "c3", (33, 20, 1, 1))
    b.add("GlobalAveragePool", ["c3"], "g")
    b.add("Flatten", ["g"], "f")
    b.dense("f", "y", 33, 7)
    return b.model({"x": ["n", 3, 12, 10]}, {"y": ["n", 7]})


def concat() -> bytes:
    """Branches that are concatenated in place, nested, one of them read elsewhere and returned."""
    b = Builder(2)
    b.conv("x", "stem", (16, 4, 3, 3))
    b.add("Relu", ["stem"], "s")
    b.conv("s", "left", (16, 16, 1, 1))
    b.conv("s", "right", (24, 16, 3, 3))
    b.add("Concat", ["left", "right"], "inner", axis=1)
    b.conv("left", "beside", (32, 16, 1, 1))
    b.add("Concat", ["beside", "inner"], "outer", axis=1)
    b.conv("outer", "y", (10, 72, 1, 1))
    return b.model({"x": ["n", 4, 6, 6]}, {"y": ["n", 10, 6, 6], "inner": ["n", 40, 6, 6]})


def mixed() -> bytes:
    """CPU operators between and after NPU operators: three integer segments."""
    b = Builder(3)
    b.conv("x", "c1", (16, 5, 3, 3), strides=[2, 2])
    b.add("Sigmoid", ["c1"], "s1")
    b.conv("s1", "c2", (18, 16, 3, 3))
    b.add("Tanh", ["c2"], "t")
    b.add("Mul", ["t", "c2"], "u")
    b.add("Flatten", ["u"], "f")
    b.dense("f", "d", 18 * 16, 9)
    b.add("Softmax", ["d"], "y")
    return b.model({"x": ["n", 5, 8, 8]}, {"y": ["n", 9]})


def depthwise() -> bytes:
    """Depthwise and grouped convolutions, average pool, clamp at 6."""
    b = Builder(4)
    b.constant("zero", np.array(0, "f4"))
    b.constant("six", np.array(6, "f4"))
    b.conv("x", "c1", (24, 8, 1, 1))
    b.add("Clip", ["c1", "zero", "six"], "r1")
    b.conv("r1", "c2", (24, 1, 3, 3), group=24, strides=[2, 2])
    b.add("Clip", ["c2", "zero", "six"], "r2")
    b.conv("r2", "c3", (32, 12, 3, 3), group=2)
    b.add("AveragePool", ["c3"], "p", kernel_shape=[2, 2], strides=[2, 2])
    b.add("Flatten", ["p"], "f")
    b.dense("f", "y", 32 * 4, 5)
    return b.model({"x": ["n", 8, 9, 9]}, {"y": ["n", 5]})


def batch_of_two() -> bytes:
    """Batch fixed to 2, with a concatenation: slices whose samples are apart."""
    b = Builder(5)
    b.conv("x", "left", (16, 6, 3, 3))
    b.conv("x", "right", (8, 6, 1, 1))
    b.add("Concat", ["left", "right"], "both", axis=1)
    b.add("Relu", ["both"], "r")
    b.conv("r", "y", (12, 24, 3, 3))
    return b.model({"x": [2, 6, 5, 7]}, {"y": [2, 12, 5, 7]})


def float_only() -> bytes:
    """Nothing that the NPU could run."""
    b = Builder(6)
    b.add("Softmax", ["x"], "s")
    b.add("Mul", ["s", "x"], "y")
    return b.model({"x": ["n", 6]}, {"y": ["n", 6]})


def two_inputs() -> bytes:
    """Two inputs and a constant output."""
    b = Builder(7)
    b.conv("a", "ca", (16, 3, 3, 3))
    b.conv("b", "cb", (16, 2, 1, 1))
    b.add("Add", ["ca", "cb"], "y")
    b.constant("k", np.array([1.5, -2.0], "f4"))
    return b.model({"a": ["n", 3, 6, 6], "b": ["n", 2, 6, 6]}, {"y": ["n", 16, 6, 6], "k": [2]})


def moved() -> bytes:
    """Layers behind views that no layout of memory is: a dense layer's results as an image, rows
    and columns exchanged, and a branch that reads what lies before."""
    b = Builder(7)
    b.dense("x", "d", 12, 96)
    b.constant("image", np.array([0, 6, 4, 4], dtype="i8"))
    b.add("Reshape", ["d", "image"], "i")
    b.conv("i", "c", (20, 6, 3, 3))
    b.add("Transpose", ["c"], "t", perm=[0, 1, 3, 2])
    b.conv("t", "e", (8, 20, 1, 3), pads=[0, 1, 0, 1])
    b.conv("c", "f", (8, 20, 1, 1))
    b.add("Add", ["e", "f"], "y")
    return b.model({"x": ["n", 12]}, {"y": ["n", 8, 4, 4]})


MODELS: dict[str, Callable[[], bytes]] = {
    "residual": residual,
    "concat": concat,
    "mixed": mixed,
    "depthwise": depthwise,
    "batch_of_two": batch_of_two,
    "float_only": float_only,
    "two_inputs": two_inputs,
    "moved": moved,
}

INPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "residual": {"x": (3, 12, 10)},
    "concat": {"x": (4, 6, 6)},
    "mixed": {"x": (5, 8, 8)},
    "depthwise": {"x": (8, 9, 9)},
    "batch_of_two": {"x": (6, 5, 7)},
    "float_only": {"x": (6,)},
    "two_inputs": {"a": (3, 6, 6), "b": (2, 6, 6)},
    "moved": {"x": (12,)},
}


def samples(name: str, count: int, seed: int = 9) -> dict[str, npt.NDArray[np.float32]]:
    """Inputs of a model, ``float32[count, …]`` each."""
    random = np.random.default_rng(seed)
    return {
        key: random.normal(size=(count, *shape)).astype("f4") for key, shape in INPUTS[name].items()
    }


def write(name: str, folder: Path) -> Path:
    """Writes a model into a folder."""
    path = folder / f"{name}.onnx"
    path.write_bytes(MODELS[name]())
    return path
