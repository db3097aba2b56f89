"""Small models, one per kind of operator, with random weights and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles.bundle import Bundle
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.made import make_bundle

Array = np.ndarray[Any, Any]
OPSET = 20
COUNT = 12
"""Samples that the statistics are of."""


class Model:
    """Builds an ONNX model of float32 inputs."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        self.inputs = [f"x{i}" for i in range(len(shapes))]
        self.shapes = shapes
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(7)

    def weight(self, *shape: int, scale: float = 0.5) -> str:
        return self.array(self.random.normal(0, scale, shape).astype(np.float32))

    def array(self, value: Any, dtype: str = "float32") -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def graph(self, *outputs: str) -> Graph:
        proto = helper.make_graph(
            self.nodes,
            "case",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in zip(self.inputs, self.shapes, strict=True)
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return simplify(import_model(helper.make_model(proto, opset_imports=opsets)))


CASES: dict[str, Callable[[], Graph]] = {}


def case(build: Callable[[], Graph]) -> Callable[[], Graph]:
    CASES[build.__name__] = build
    return build


def _unary(op: str, **attributes: Any) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model((1, 6, 5))
        return m.graph(m.node(op, "x0", **attributes))

    return build


_UNARY = """
Abs Atan Ceil Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Mish Neg Round Selu Sigmoid
Sign Sin Softplus Softsign Tanh ThresholdedRelu
"""
for _op in _UNARY.split():
    CASES[_op.lower()] = _unary(_op)


CASES["shrink"] = _unary("Shrink", lambd=0.3, bias=0.2)
CASES["gelu_tanh"] = _unary("Gelu", approximate="tanh")


def _conv(
    shape: tuple[int, ...], weight: tuple[int, ...], *, relu: bool = False, **attributes: Any
) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model(shape)
        found = m.node("Conv", "x0", m.weight(*weight), m.weight(weight[0]), **attributes)
        return m.graph(m.node("Relu", found) if relu else found)

    return build


CASES |= {
    "conv": _conv((1, 5, 9, 7), (6, 5, 3, 3), pads=[1, 1, 1, 1]),
    "conv_relu": _conv((1, 5, 9, 7), (6, 5, 3, 3), relu=True),
    "conv_stride": _conv((1, 3, 11, 10), (4, 3, 5, 3), strides=[2, 3], pads=[2, 0, 1, 1]),
    "conv_dilated": _conv((1, 3, 11, 10), (4, 3, 3, 2), dilations=[2, 3], pads=[2, 1, 2, 2]),
    "conv_point": _conv((1, 7, 5, 6), (9, 7, 1, 1)),
    "conv_point_stride": _conv((1, 7, 5, 6), (9, 7, 1, 1), strides=[2, 2]),
    "conv_same": _conv((1, 3, 7, 8), (4, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_grouped": _conv((1, 6, 7, 8), (9, 2, 3, 3), group=3, pads=[1, 1, 1, 1]),
    "conv_depthwise": _conv((1, 6, 7, 8), (6, 1, 3, 3), group=6, pads=[1, 1, 1, 1]),
    "conv_multiplier": _conv((1, 3, 7, 8), (6, 1, 3, 3), group=3, pads=[0, 1, 1, 0]),
    "conv_row": _conv((1, 4, 17), (5, 4, 5), pads=[2, 1], strides=[2]),
    "conv_row_depthwise": _conv((1, 4, 17), (4, 1, 3), group=4, dilations=[2]),
}


def _transposed(
    shape: tuple[int, ...], weight: tuple[int, ...], **attributes: Any
) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model(shape)
        outputs = weight[1] * attributes.get("group", 1)
        return m.graph(
            m.node("ConvTranspose", "x0", m.weight(*weight), m.weight(outputs), **attributes)
        )

    return build


CASES |= {
    "transposed": _transposed((1, 3, 4, 5), (3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed_groups": _transposed((1, 4, 4, 5), (4, 2, 2, 3), group=2, strides=[2, 1]),
    "transposed_extra": _transposed(
        (1, 3, 4, 5), (3, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "transposed_row": _transposed((1, 3, 6), (3, 2, 4), strides=[2], pads=[1, 1]),
}


def _pool(op: str, shape: tuple[int, ...], **attributes: Any) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model(shape)
        return m.graph(m.node(op, "x0", **attributes))

    return build


CASES |= {
    "max_pool": _pool("MaxPool", (1, 3, 7, 8), kernel_shape=[2, 3], strides=[2, 2]),
    "max_pool_pad": _pool("MaxPool", (1, 3, 7, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "max_pool_ceil": _pool(
        "MaxPool", (1, 3, 7, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    ),
    "max_pool_row": _pool("MaxPool", (1, 3, 9), kernel_shape=[3], strides=[2]),
    "mean_pool": _pool("AveragePool", (1, 3, 7, 8), kernel_shape=[2, 3], strides=[2, 2]),
    "mean_pool_pad": _pool("AveragePool", (1, 3, 7, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "mean_pool_counted": _pool(
        "AveragePool", (1, 3, 7, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "mean_pool_counted_ceil": _pool(
        "AveragePool",
        (1, 3, 7, 9),
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
        ceil_mode=1,
    ),
    "mean_pool_counted_over": _pool(
        "AveragePool",
        (1, 3, 8, 9),
        kernel_shape=[3, 5],
        strides=[2, 3],
        pads=[0, 1, 0, 0],
        count_include_pad=1,
        ceil_mode=1,
    ),
    "mean_pool_counted_over_row": _pool(
        "AveragePool",
        (1, 3, 63),
        kernel_shape=[3],
        strides=[2],
        pads=[1, 0],
        count_include_pad=1,
        ceil_mode=1,
    ),
    "mean_pool_counted_skips": _pool(
        "AveragePool",
        (1, 3, 10, 6),
        kernel_shape=[1, 3],
        strides=[4, 3],
        pads=[0, 1, 0, 0],
        count_include_pad=1,
        ceil_mode=1,
    ),
    "max_pool_ceil_skips": _pool(
        "MaxPool", (1, 3, 12, 11), kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1
    ),
    "global_mean": _pool("GlobalAveragePool", (1, 3, 7, 8)),
    "global_max": _pool("GlobalMaxPool", (1, 3, 7, 8)),
    "softmax": _pool("Softmax", (1, 4, 9), axis=2),
    "softmax_many": _pool("Softmax", (1, 40, 30), axis=1),
    "softmax_channels": _pool("Softmax", (1, 4, 3, 5), axis=1),
    "space_to_depth": _pool("SpaceToDepth", (1, 3, 4, 6), blocksize=2),
    "depth_to_space": _pool("DepthToSpace", (1, 12, 2, 3), blocksize=2),
    "depth_to_space_crd": _pool("DepthToSpace", (1, 12, 2, 3), blocksize=2, mode="CRD"),
}


def _reduce(op: str, axes: list[int], keep: int) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model((1, 4, 5, 6))
        return m.graph(m.node(op, "x0", m.array(axes, "int64"), keepdims=keep))

    return build


CASES |= {
    "reduce_mean_image": _reduce("ReduceMean", [2, 3], 0),
    "reduce_mean_channels": _reduce("ReduceMean", [1], 1),
    "reduce_max_apart": _reduce("ReduceMax", [1, 3], 0),
    "reduce_sum": _reduce("ReduceSum", [2], 0),
    "reduce_min": _reduce("ReduceMin", [-1], 1),
}


def _pair(op: str, first: tuple[int, ...], second: tuple[int, ...]) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model(first, second)
        return m.graph(m.node(op, "x0", "x1"))

    return build


CASES |= {
    "add": _pair("Add", (1, 4, 5, 6), (1, 4, 5, 6)),
    "add_broadcast": _pair("Add", (1, 4, 5, 6), (1, 4, 1, 1)),
    "add_ranks": _pair("Add", (1, 4, 6), (1, 6)),
    "sub": _pair("Sub", (1, 4, 6), (1, 4, 1)),
    "mul": _pair("Mul", (1, 4, 5, 6), (1, 4, 5, 6)),
    "mul_broadcast": _pair("Mul", (1, 1, 5, 6), (1, 4, 5, 1)),
    "min": _pair("Min", (1, 4, 6), (1, 4, 6)),
    "max": _pair("Max", (1, 4, 6), (1, 4, 6)),
    "matmul": _pair("MatMul", (1, 2, 4, 6), (1, 2, 6, 3)),
    "matmul_broadcast": _pair("MatMul", (1, 2, 4, 6), (1, 1, 6, 3)),
}


def _resize(mode: str, coordinates: str, sizes: list[int], **more: Any) -> Callable[[], Graph]:
    def build() -> Graph:
        m = Model((1, 3, 4, 5))
        target = m.array(sizes if "axes" in more else [1, 3, *sizes], "int64")
        return m.graph(
            m.node(
                "Resize",
                "x0",
                "",
                "",
                target,
                mode=mode,
                coordinate_transformation_mode=coordinates,
                **more,
            )
        )

    return build


CASES |= {
    "resize_nearest": _resize("nearest", "asymmetric", [8, 10]),
    "resize_nearest_odd": _resize("nearest", "half_pixel", [7, 3]),
    "resize_linear": _resize("linear", "half_pixel", [9, 7]),
    "resize_corners": _resize("linear", "align_corners", [6, 11]),
    "resize_cubic": _resize("cubic", "half_pixel", [9, 7]),
    "resize_cubic_down": _resize("cubic", "align_corners", [3, 2], cubic_coeff_a=-0.5),
    "resize_outside": _resize("cubic", "asymmetric", [7, 8], exclude_outside=1),
    "resize_smooth": _resize("linear", "half_pixel", [2, 3], antialias=1),
    "resize_cubic_smooth": _resize("cubic", "half_pixel", [2, 7], antialias=1),
    "resize_axes": _resize("linear", "half_pixel", [7, 3], axes=[2, 3]),
    "resize_not_larger": _resize(
        "linear", "half_pixel", [7, 9], axes=[2, 3], keep_aspect_ratio_policy="not_larger"
    ),
    "resize_not_smaller": _resize(
        "nearest", "asymmetric", [7, 9], axes=[2, 3], keep_aspect_ratio_policy="not_smaller"
    ),
    "resize_symmetric": _resize("linear", "half_pixel_symmetric", [7, 3]),
}


@case
def dense() -> Graph:
    m = Model((3, 7))
    return m.graph(m.node("Gemm", "x0", m.weight(5, 7), m.weight(5), transB=1))


@case
def dense_tokens() -> Graph:
    m = Model((1, 4, 7))
    found = m.node("Add", m.node("MatMul", "x0", m.weight(7, 5)), m.weight(5))
    return m.graph(m.node("Relu", found))


@case
def between_layers() -> Graph:
    """What lies between layers with weights and takes their type: sums, products, pools."""
    m = Model((1, 3, 8, 9))
    first = m.node("Conv", "x0", m.weight(8, 3, 3, 3), m.weight(8), pads=[1, 1, 1, 1])
    pooled = m.node("MaxPool", m.node("Relu", first), kernel_shape=[2, 3], strides=[2, 2])
    second = m.node("Conv", pooled, m.weight(8, 1, 3, 3), m.weight(8), group=8, pads=[1, 1, 1, 1])
    gate = m.node("Conv", m.node("GlobalAveragePool", second), m.weight(8, 8, 1, 1))
    added = m.node("Sub", m.node("Add", pooled, m.node("Mul", second, gate)), m.array(0.25))
    smooth = m.node("AveragePool", added, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    size = m.array([1, 8, 9, 7], "int64")
    large = m.node("Resize", smooth, "", "", size, mode="linear")
    turned = m.node("Transpose", m.node("Pad", large, m.array([0] * 6 + [1, 2], "int64")))
    last = m.node("Conv", m.node("HardSwish", large), m.weight(4, 8, 1, 1))
    return m.graph(turned, m.node("ReduceMean", last, m.array([2, 3], "int64"), keepdims=0))


@case
def gelu_written_out() -> Graph:
    m = Model((1, 4, 7))
    cube = m.node("Mul", m.node("Pow", "x0", m.array(3.0)), m.array(0.044715))
    inner = m.node("Mul", m.node("Add", "x0", cube), m.array(0.7978846))
    outer = m.node("Add", m.node("Tanh", inner), m.array(1.0))
    half = m.node("Mul", "x0", m.array(0.5))
    return m.graph(m.node("Mul", half, outer))


@case
def division_is_real() -> Graph:
    m = Model((1, 4, 6), (1, 4, 6))
    apart = m.node("Add", m.node("Abs", "x1"), m.array(1.0))
    divided = m.node("Div", "x0", apart)
    return m.graph(m.node("MatMul", divided, m.weight(6, 3)))


@case
def powers() -> Graph:
    """Of what is above zero by anything, of anything by whole numbers."""
    m = Model((1, 4, 6), (1, 4, 6))
    some = m.node("Pow", m.node("Add", m.node("Abs", "x0"), m.array(0.5)), "x1")
    whole = m.node("Pow", "x0", m.array([0.0, 1.0, 2.0, 3.0, 2.0, 5.0]))
    return m.graph(m.node("Add", some, whole))


@case
def normalization() -> Graph:
    m = Model((1, 4, 16))
    return m.graph(m.node("LayerNormalization", "x0", m.weight(16), m.weight(16), axis=-1))


@case
def concat() -> Graph:
    m = Model((1, 3, 4, 5))
    a = m.node("Conv", "x0", m.weight(4, 3, 1, 1))
    b = m.node("Conv", "x0", m.weight(2, 3, 3, 3), pads=[1, 1, 1, 1])
    return m.graph(m.node("Concat", a, b, "x0", axis=1), b)


@case
def concat_rows() -> Graph:
    m = Model((1, 3, 4, 5), (1, 3, 2, 5))
    return m.graph(m.node("Concat", "x0", "x1", axis=2))


@case
def slices() -> Graph:
    m = Model((1, 6, 7, 8))
    bounds = [m.array(v, "int64") for v in ([1, 6], [6, -9], [1, 3], [2, -2])]
    return m.graph(m.node("Slice", "x0", *bounds))


@case
def split() -> Graph:
    m = Model((1, 6, 7))
    parts = m.node("Split", "x0", m.array([2, 4], "int64"), outputs=2, axis=1)
    return m.graph(*parts)


@case
def pad() -> Graph:
    m = Model((1, 3, 4, 5))
    amounts = m.array([0, 1, 2, 0, 0, 0, 1, -2], "int64")
    return m.graph(m.node("Pad", "x0", amounts, m.array(0.5)))


@case
def inputs_are_outputs() -> Graph:
    """The same memory, in other orders and names."""
    m = Model((1, 3, 4, 5))
    turned = m.node("Transpose", "x0", perm=[0, 3, 1, 2])
    found = m.node("Relu", "x0")
    again = m.node("Transpose", found, perm=[0, 3, 2, 1])
    return m.graph(turned, found, again, m.node("Identity", "x0"))


@case
def batch_normalization() -> Graph:
    """Where no layer takes it."""
    m = Model((1, 5, 9))
    parts = m.weight(5), m.weight(5), m.weight(5), m.array(np.linspace(0.5, 2, 5))
    return spelled_out(m.graph(m.node("Relu", m.node("BatchNormalization", "x0", *parts))))


@case
def batch_normalization_of_rows() -> Graph:
    m = Model((1, 9))
    parts = m.weight(9), m.weight(9), m.weight(9), m.array(np.linspace(0.5, 2, 9))
    return spelled_out(m.graph(m.node("BatchNormalization", "x0", *parts)))


@case
def transposes() -> Graph:
    m = Model((1, 3, 4, 5))
    turned = m.node("Transpose", "x0", perm=[0, 3, 1, 2])
    summed = m.node("Add", turned, m.weight(1, 5, 1, 4))
    return m.graph(m.node("Reshape", summed, m.array([1, 60], "int64")))


@case
def expand() -> Graph:
    m = Model((1, 3, 1, 5))
    return m.graph(m.node("Expand", "x0", m.array([1, 3, 4, 5], "int64")))


@case
def tile() -> Graph:
    m = Model((1, 3, 2, 5))
    return m.graph(m.node("Tile", "x0", m.array([1, 2, 3, 1], "int64")))


@case
def gather() -> Graph:
    m = Model((1, 6, 5))
    return m.graph(m.node("Gather", "x0", m.array([4, 0, -1], "int64"), axis=1))


@case
def attention() -> Graph:
    m = Model((1, 6, 8))
    q, k, v = (m.node("MatMul", "x0", m.weight(8, 8)) for _ in range(3))
    heads = m.array([1, 6, 2, 4], "int64")
    q, k, v = (
        m.node("Transpose", m.node("Reshape", t, heads), perm=[0, 2, 1, 3]) for t in (q, k, v)
    )
    scores = m.node("MatMul", q, m.node("Transpose", k, perm=[0, 1, 3, 2]))
    weights = m.node("Softmax", m.node("Mul", scores, m.array(0.5)), axis=-1)
    mixed = m.node("Transpose", m.node("MatMul", weights, v), perm=[0, 2, 1, 3])
    flat = m.node("Reshape", mixed, m.array([1, 6, 8], "int64"))
    return m.graph(m.node("Add", flat, "x0"))


@case
def residual() -> Graph:
    m = Model((1, 4, 6, 6))
    a = m.node("Relu", m.node("Conv", "x0", m.weight(4, 4, 3, 3), pads=[1, 1, 1, 1]))
    b = m.node("Conv", a, m.weight(4, 4, 3, 3), m.weight(4), pads=[1, 1, 1, 1])
    c = m.node("Relu", m.node("Add", b, "x0"))
    pooled = m.node("Flatten", m.node("GlobalAveragePool", c))
    return m.graph(m.node("Softmax", m.node("MatMul", pooled, m.weight(4, 3))))


@case
def squeeze_and_excite() -> Graph:
    m = Model((1, 4, 6, 6))
    a = m.node("Conv", "x0", m.weight(8, 4, 1, 1))
    pooled = m.node("GlobalAveragePool", a)
    small = m.node("Relu", m.node("Conv", pooled, m.weight(2, 8, 1, 1)))
    gate = m.node("Sigmoid", m.node("Conv", small, m.weight(8, 2, 1, 1)))
    return m.graph(m.node("Mul", a, gate))


@case
def input_is_output() -> Graph:
    m = Model((1, 4, 6))
    same = m.node("Reshape", "x0", m.array([1, 24], "int64"))
    return m.graph(same, m.node("Tanh", "x0"), m.node("Reshape", same, m.array([24, 1], "int64")))


@case
def branches() -> Graph:
    m = Model((1, 2, 8, 8))
    parts = []
    for kernel in (1, 3, 5):
        pads = [kernel // 2] * 4
        wide = m.node("Conv", "x0", m.weight(16, 2, kernel, kernel), pads=pads)
        parts.append(m.node("Conv", wide, m.weight(2, 16, 1, 1)))
    joined = m.node("Add", m.node("Add", parts[0], parts[1]), parts[2])
    return m.graph(joined)


def joined(graphs: Mapping[str, Graph]) -> Graph:
    """Graphs side by side as one: what they use in common is written as C once."""
    constants, types = {}, {}
    nodes, inputs, outputs = [], [], []
    for prefix, graph in graphs.items():

        def own(name: str, prefix: str = prefix) -> str:
            return f"{prefix}/{name}" if name else ""

        constants |= {own(name): array for name, array in graph.constants.items()}
        types |= {own(name): known for name, known in graph.types.items()}
        inputs += map(own, graph.inputs)
        outputs += map(own, graph.outputs)
        nodes += [
            replace(
                node,
                name=own(node.name),
                inputs=tuple(map(own, node.inputs)),
                outputs=tuple(map(own, node.outputs)),
            )
            for node in graph.nodes
        ]
    return Graph(
        "joined",
        tuple(inputs),
        tuple(outputs),
        tuple(nodes),
        constants,
        types,
        {"": OPSET},
    )


def samples(graph: Graph, count: int, seed: int = 0) -> list[dict[str, Array]]:
    """Random inputs, one per sample."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        found.append(
            {
                name: generator.normal(0, 1, graph.types[name].shape).astype(np.float32)
                for name in graph.inputs
            }
        )
    return found


def names() -> list[str]:
    return sorted(CASES)


def ranges_of(graph: Graph) -> dict[str, TensorRange]:
    data = samples(graph, COUNT)
    arrays = {key: np.concatenate([item[key] for item in data]) for key in graph.inputs}
    return dict(profile_model(graph, arrays).ranges())


def options_of(graph: Graph, precision: str) -> Options:
    """Options of ``int8``, ``float32``, or ``int16``: activations of layers with weights."""
    if precision != "int16":
        return Options(precision=precision)
    return Options(int16_layers=frozenset(weighted_nodes(graph)))


def weighted_nodes(graph: Graph) -> list[str]:
    """Names of layers with constant weights."""
    return [
        node.name
        for node in graph.nodes
        if node.op in ("Conv", "ConvTranspose", "Dense", "Gemm")
        or (node.op == "MatMul" and node.inputs[1] in graph.constants)
    ]


@cache
def all_in_one(precision: str) -> tuple[Graph, Bundle]:
    graph = joined({name: CASES[name]() for name in names()})
    ranges = {}
    if precision != "float32":
        for name in names():
            own = ranges_of(CASES[name]())
            ranges |= {f"{name}/{tensor}": known for tensor, known in own.items()}
    return graph, make_bundle(graph, ranges, "all_operators", options_of(graph, precision))


@cache
def prepared(name: str, precision: str) -> tuple[Graph, Bundle]:
    graph = CASES[name]()
    ranges = {} if precision == "float32" else ranges_of(graph)
    return graph, make_bundle(graph, ranges, "sample_model", options_of(graph, precision))
