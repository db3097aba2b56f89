"""Small ONNX models that ask for much: memory, time or depth out of a few numbers.

Every one is ``y = x + reduced(...)``, so that whoever folds constants, infers shapes or runs the
model meets the demand.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SIZES = (3, 100, 4096, 65536, 10**6, 2**24, 2**27, 2**31 - 1, 2**31, 10**10, 10**12, 2**62)


class Parts:
    """Nodes and constants of one model."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self._count = 0

    def fresh(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def ints(self, *values: int, shape: tuple[int, ...] | None = None) -> str:
        values = tuple(max(-(2**63), min(2**63 - 1, value)) for value in values)
        array = np.array(values, np.int64)
        return self.constant(array.reshape(shape) if shape is not None else array)

    def scalar(self, value: int) -> str:
        return self.ints(value, shape=())

    def floats(self, *values: float, shape: tuple[int, ...] | None = None) -> str:
        array = np.array(values, np.float32)
        return self.constant(array.reshape(shape) if shape is not None else array)

    def constant(self, array: np.ndarray[Any, Any]) -> str:
        name = self.fresh()
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [self.fresh() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def size(self) -> int:
        return self.random.choice(_SIZES) + self.random.choice((0, 0, 1, -1))


def _range(p: Parts) -> str:
    return p.op("Range", p.scalar(0), p.scalar(p.size()), p.scalar(1))


def _range_float(p: Parts) -> str:
    step = p.floats(p.random.choice((1.0, 1e-9, 0.0, float("nan"), -1.0)), shape=())
    return p.op("Range", p.floats(0, shape=()), p.floats(float(p.size()), shape=()), step)


def _filled(p: Parts) -> str:
    dims = [p.size() if p.random.random() < 0.6 else 1 for _ in range(p.random.randint(1, 4))]
    return p.op("ConstantOfShape", p.ints(*dims))


def _expand(p: Parts) -> str:
    return p.op("Expand", p.floats(1.0), p.ints(p.size(), p.random.choice((1, 1000))))


def _tile(p: Parts) -> str:
    return p.op("Tile", p.floats(1.0, 2.0), p.ints(p.size()))


def _pad(p: Parts) -> str:
    mode = p.random.choice(("constant", "edge", "reflect"))
    data = p.floats(1, 2, 3, 4, shape=(2, 2))
    pads = [p.random.choice((0, p.size(), -p.size())) for _ in range(4)]
    return p.op("Pad", data, p.ints(*pads), mode=mode)


def _pad_data(p: Parts) -> str:
    return p.op("Pad", "x", p.ints(0, p.size(), 0, p.size()))


def _resize(p: Parts) -> str:
    data = p.floats(1, 2, 3, 4, shape=(1, 1, 2, 2))
    if p.random.random() < 0.5:
        return p.op("Resize", data, "", "", p.ints(1, 1, p.size(), p.size()))
    scales = p.floats(1, 1, float(p.size()), p.random.choice((0.0, -1.0, float("nan"), 1e9)))
    return p.op("Resize", data, "", scales)


def _one_hot(p: Parts) -> str:
    return p.op("OneHot", p.ints(1, 2), p.scalar(p.size()), p.floats(0, 1))


def _eye(p: Parts) -> str:
    return p.op(
        "EyeLike", p.op("ConstantOfShape", p.ints(p.size(), p.random.choice((1, p.size()))))
    )


def _concat_chain(p: Parts) -> str:
    name = p.floats(*range(64))
    for _ in range(p.random.choice((5, 20, 30, 45))):
        name = p.op("Concat", name, name, axis=0)
    return name


def _concat_data(p: Parts) -> str:
    name = "x"
    for _ in range(p.random.choice((5, 16, 24, 40))):
        name = p.op("Concat", name, name, axis=1)
    return name


def _outer(p: Parts) -> str:
    one = p.op("ConstantOfShape", p.ints(p.random.choice((1000, 65536, 10**6)), 1))
    other = p.op("ConstantOfShape", p.ints(1, p.random.choice((1000, 65536, 10**6))))
    return p.op(p.random.choice(("MatMul", "Add", "Mul", "Max", "Where")[:4]), one, other)


def _product(p: Parts) -> str:
    size = p.random.choice((100, 2000, 8000, 16000))
    square = p.op("ConstantOfShape", p.ints(size, size))
    return p.op("MatMul", square, square)


def _window(p: Parts) -> str:
    return p.op(
        p.random.choice(("HannWindow", "BlackmanWindow", "HammingWindow")), p.scalar(p.size())
    )


def _mel(p: Parts) -> str:
    return p.op("MelWeightMatrix", p.scalar(p.size()), p.scalar(p.size()), p.scalar(8000),
                p.floats(0, shape=()), p.floats(4000, shape=()))  # fmt: skip


def _noise(p: Parts) -> str:
    return p.op(p.random.choice(("RandomNormal", "RandomUniform")), shape=[min(p.size(), 2**62), 2])


def _conv(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 1, 4, 4))
    pad = min(p.size(), 2**62)
    kernel = p.op("ConstantOfShape", p.ints(1, 1, 3, 3))
    return p.op(
        "Conv",
        data,
        kernel,
        pads=[pad, 1, 1, pad],
        strides=[p.random.choice((1, 1, 0, 2**40)), 1],
        dilations=[p.random.choice((1, p.size(), 0)), 1],
    )


def _conv_transpose(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 1, 4, 4))
    kernel = p.op("ConstantOfShape", p.ints(1, p.random.choice((1, 4096)), 3, 3))
    if p.random.random() < 0.5:
        return p.op("ConvTranspose", data, kernel, output_shape=[p.size(), p.size()])
    return p.op("ConvTranspose", data, kernel, strides=[p.size(), 1])


def _wide_conv(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 16, 1, 1))
    wide = p.random.choice((16, 4096, 10**6))
    wider = p.op("Conv", data, p.op("ConstantOfShape", p.ints(wide, 16, 1, 1)))
    return p.op("Conv", wider, p.op("ConstantOfShape", p.ints(wide, wide, 1, 1)))


def _pool(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 1, 4, 4))
    pad = p.size()
    return p.op(
        p.random.choice(("MaxPool", "AveragePool", "LpPool")),
        data,
        kernel_shape=[p.random.choice((1, 3, p.size())), 1],
        pads=[pad, 0, pad, 0],
    )


def _einsum(p: Parts) -> str:
    return p.op(
        "Einsum",
        "x",
        "x",
        equation=p.random.choice(("ab,cd->abcd", "ab,ab->", "..,..->..", "a" * 3000, "ab,bc")),
    )


def _gather(p: Parts) -> str:
    index = p.op(
        "ConstantOfShape",
        p.ints(p.size()),
        value=numpy_helper.from_array(np.array([p.random.choice((0, 5, -1, 2**40))], np.int64)),
    )
    return p.op("Gather", "x", index, axis=1)


def _non_zero(p: Parts) -> str:
    ones = p.op(
        "ConstantOfShape",
        p.ints(p.random.choice((10, 10**4, 10**8))),
        value=numpy_helper.from_array(np.array([1.0], np.float32)),
    )
    return p.op("NonZero", ones)


def _data_sized(p: Parts) -> str:
    """A size that only running the model tells."""
    size = p.op("Cast", p.op("Abs", p.op("ReduceMax", "x", keepdims=0)), to=TensorProto.INT64)
    large = p.op("Add", p.op("Mul", size, p.scalar(0)), p.scalar(p.size()))
    kind = p.random.randrange(3)
    if kind == 0:
        return p.op("Range", p.scalar(0), large, p.scalar(1))
    shape = p.op("Reshape", large, p.ints(1))
    if kind == 1:
        return p.op("ConstantOfShape", shape)
    return p.op("Expand", p.floats(1.0), shape)


def _loop(p: Parts) -> str:
    """A loop that ends late or never, and may gather what it makes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["cond_out"]),
            helper.make_node("Add", ["v", "v"], ["v_out"]),
            helper.make_node("Identity", ["v"], ["scan"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("scan", TensorProto.FLOAT, None),
        ],
    )
    start = p.random.choice(("x", p.floats(1.0)))
    trips = p.random.choice((p.scalar(p.size()), ""))
    if trips and p.random.random() < 0.3:
        trips = p.op(
            "Cast",
            p.op("Add", p.op("ReduceSum", "x", keepdims=0), p.floats(1e12, shape=())),
            to=TensorProto.INT64,
        )
    condition = p.constant(np.array(True))
    out = p.op("Loop", trips, condition, start, outputs=2, body=body)
    return p.random.choice((out, p.nodes[-1].output[1]))


def _doubling_loop(p: Parts) -> str:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["cond_out"]),
            helper.make_node("Concat", ["v", "v"], ["v_out"], axis=0),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    return p.op(
        "Loop",
        p.scalar(p.random.choice((3, 30, 50, 100))),
        p.constant(np.array(True)),
        p.random.choice(("x", p.floats(1.0))),
        body=body,
    )


def _nested(p: Parts) -> str:
    depth = p.random.choice((2, 10, 20, 28))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])], "leaf", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )  # fmt: skip
    flag = p.constant(np.array(True))
    for level in range(depth):
        node = helper.make_node(
            "If", [flag], [f"inner{level}"], then_branch=graph, else_branch=graph
        )
        if level > 12:
            other = helper.make_graph(
                [helper.make_node("Identity", ["x"], ["e"])],
                "e",
                [],
                [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
            )
            node = helper.make_node(
                "If", [flag], [f"inner{level}"], then_branch=graph, else_branch=other
            )
        graph = helper.make_graph(
            [node],
            f"g{level}",
            [],
            [helper.make_tensor_value_info(f"inner{level}", TensorProto.FLOAT, None)],
        )
    return p.op("If", flag, then_branch=graph, else_branch=graph)


def _functions(p: Parts) -> str:
    """Functions that call others twice: the inlined graph grows with two to the depth."""
    depth = p.random.choice((2, 5, 12, 25, 60))
    domain = p.random.choice(("evil", ""))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    for level in range(depth):
        inner = f"F{level - 1}" if level else "Abs"
        inside = domain if level else ""
        nodes = [
            helper.make_node(inner, ["a"], ["b"], domain=inside),
            helper.make_node(inner, ["b"], ["c"], domain=inside),
        ]
        p.functions.append(
            helper.make_function(domain or "evil", f"F{level}", ["a"], ["c"], nodes, opsets)
        )
    return p.op(f"F{depth - 1}", "x", domain="evil")


def _recursive(p: Parts) -> str:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    cycle = p.random.choice((1, 2, 5))
    for level in range(cycle):
        node = helper.make_node(f"R{(level + 1) % cycle}", ["a"], ["b"], domain="evil")
        p.functions.append(helper.make_function("evil", f"R{level}", ["a"], ["b"], [node], opsets))
    return p.op("R0", "x", domain="evil")


def _sequence(p: Parts) -> str:
    data = p.op("ConstantOfShape", p.ints(p.random.choice((10, 10**5, 10**7))))
    pieces = p.op("SplitToSequence", data, p.scalar(1))
    return p.op("ConcatFromSequence", pieces, axis=0)


def _long_chain(p: Parts) -> str:
    name = "x"
    for _ in range(p.random.choice((100, 1000, 5000))):
        name = p.op(p.random.choice(("Relu", "Neg", "Identity", "Abs")), name)
    return name


def _wide_fan(p: Parts) -> str:
    many = [p.op("Relu", "x") for _ in range(p.random.choice((50, 500, 2000)))]
    return p.op("Sum", *many)


def _diamonds(p: Parts) -> str:
    """Paths that double with every level."""
    name = "x"
    for _ in range(p.random.choice((10, 40, 300))):
        name = p.op("Add", p.op("Relu", name), p.op("Neg", name))
    return name


def _lstm(p: Parts) -> str:
    hidden = p.random.choice((1, 64, 10**4, 10**6))
    data = p.op("Reshape", "x", p.ints(1, 1, 16))
    w = p.op("ConstantOfShape", p.ints(1, 4 * hidden, 16))
    r = p.op("ConstantOfShape", p.ints(1, 4 * hidden, hidden))
    return p.op("LSTM", data, w, r, hidden_size=p.random.choice((hidden, 7, -1, 2**40)))


def _image(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 1, 4, 4))
    kind = p.random.choice(
        ("DepthToSpace", "SpaceToDepth", "AffineGrid", "CenterCropPad", "Col2Im", "GridSample")
    )
    if kind in ("DepthToSpace", "SpaceToDepth"):
        return p.op(kind, data, blocksize=p.random.choice((0, -1, 2, p.size())))
    if kind == "AffineGrid":
        return p.op(
            kind, p.floats(1, 0, 0, 0, 1, 0, shape=(1, 2, 3)), p.ints(1, 1, p.size(), p.size())
        )
    if kind == "CenterCropPad":
        return p.op(kind, data, p.ints(1, 1, p.size(), p.size()))
    if kind == "Col2Im":
        return p.op(
            kind, p.op("Reshape", "x", p.ints(1, 4, 4)), p.ints(p.size(), p.size()), p.ints(2, 2)
        )
    grid = p.op("ConstantOfShape", p.ints(1, p.size(), p.size(), 2))
    return p.op(kind, data, grid)


def _spectrum(p: Parts) -> str:
    data = p.op("Reshape", "x", p.ints(1, 16, 1))
    if p.random.random() < 0.5:
        return p.op("DFT", data, p.scalar(p.size()))
    return p.op(
        "STFT", data, p.scalar(p.random.choice((0, 1, -1, p.size()))), "", p.scalar(p.size())
    )


def _split(p: Parts) -> str:
    return p.op(
        "Split",
        "x",
        axis=1,
        num_outputs=p.random.choice((2, 100, 2**40)),
        outputs=p.random.choice((1, 2, 16)),
    )


def _slice(p: Parts) -> str:
    return p.op(
        "Slice",
        "x",
        p.ints(p.size()),
        p.ints(-p.size()),
        p.ints(1),
        p.ints(p.random.choice((0, -1, p.size()))),
    )


def _bits(p: Parts) -> str:
    return p.op(
        "Cast",
        p.op(
            "BitShift",
            p.constant(np.array([1], np.uint64)),
            p.constant(np.array([200], np.uint64)),
            direction="LEFT",
        ),
        to=1,
    )


def _string(p: Parts) -> str:
    return p.op("Cast", p.op("Cast", "x", to=TensorProto.STRING), to=1)


def _scatter(p: Parts) -> str:
    return p.op("ScatterND", "x", p.ints(0, p.size(), shape=(1, 2)), p.floats(1.0))


def _top(p: Parts) -> str:
    return p.op("TopK", "x", p.ints(p.size()), outputs=2)


def _reshape(p: Parts) -> str:
    return p.op("Reshape", "x", p.ints(p.size(), p.random.choice((-1, 0, p.size()))))


AMPLIFIERS: tuple[Callable[[Parts], str], ...] = (
    _range, _range_float, _filled, _expand, _tile, _pad, _pad_data, _resize, _one_hot, _eye,
    _concat_chain, _concat_data, _outer, _product, _window, _mel, _noise, _conv, _conv_transpose,
    _wide_conv, _pool, _einsum, _gather, _non_zero, _data_sized, _loop, _doubling_loop, _nested,
    _functions, _recursive, _sequence, _long_chain, _wide_fan, _diamonds, _lstm, _image, _spectrum,
    _split, _slice, _bits, _string, _scatter, _top, _reshape,
)  # fmt: skip


def amplified(random_: random.Random) -> bytes:
    """One model that asks for much."""
    parts = Parts(random_)
    name = random_.choice(AMPLIFIERS)(parts)
    if random_.random() < 0.2:
        name = parts.op("Relu", name)
    if random_.random() < 0.9:
        as_float = parts.op("Cast", name, to=TensorProto.FLOAT)
        total = parts.op(random_.choice(("ReduceMax", "ReduceMean")), as_float, keepdims=0)
        parts.nodes.append(helper.make_node("Add", ["x", total], ["y"]))
    else:
        parts.nodes.append(helper.make_node("Identity", [name], ["y"]))
    graph = helper.make_graph(
        parts.nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [random_.choice((1, 1, "N")), 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        parts.weights,
    )
    if random_.random() < 0.2:
        graph.output[0].type.tensor_type.shape.SetInParent()
    version = random_.choice((17, 17, 17, 20, 13, 21, 22))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", version), helper.make_opsetid("evil", 1)],
        ir_version=random_.choice((8, 10)),
        functions=parts.functions,
    )
    return model.SerializeToString()
