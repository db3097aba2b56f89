"""Plain NumPy definitions of the integer operators, and small graphs written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerSegment,
    QuantizedGraph,
    QuantizedTensor,
    TensorView,
)


def plain_windows(x, kernel, strides, pads, dilations, fill):
    """``[N, C, OH, OW, kh, kw]`` of ``x`` padded with ``fill``."""
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    view = view[:, :, :: strides[0], :: strides[1]]
    return view[..., :: dilations[0], :: dilations[1]]


def plain_sum(x, weight, groups, kernel, strides, pads, dilations):
    """A grouped convolution without bias, in the type of ``x``."""
    windows = plain_windows(x, kernel, strides, pads, dilations, 0)
    parts = []
    for group in range(groups):
        channels, outputs = x.shape[1] // groups, len(weight) // groups
        part = windows[:, group * channels : (group + 1) * channels]
        taps = weight[group * outputs : (group + 1) * outputs].astype(x.dtype)
        parts.append(np.einsum("nchwij,ocij->nohw", part, taps))
    return np.concatenate(parts, axis=1)


def plain_shift(accumulator, shift):
    if shift > 0:
        return (accumulator + (1 << (shift - 1))) >> shift
    return accumulator << -shift


def plain_operator(operator, values):
    """One integer operator in int64 from ``values`` by name; int32 must never wrap."""
    if isinstance(operator, IntegerConcat):
        return np.concatenate([values[name] for name in operator.inputs], axis=1)
    x = values[operator.input].astype(np.int64)
    if not isinstance(operator, IntegerConv):
        windows = plain_windows(
            x, operator.kernel, operator.strides, operator.pads, operator.dilations, -(10**9)
        )
        return np.clip(windows.max(axis=(-1, -2)), operator.clip_min, operator.clip_max)
    kernel = operator.weight.shape[2:]
    window = (kernel, operator.strides, operator.pads, operator.dilations)
    total = plain_sum(x, operator.weight, operator.groups, *window)
    total = total + operator.bias.astype(np.int64).reshape(1, -1, 1, 1)
    if operator.channel_shifts is not None:
        shifted = [
            plain_shift(total[:, channel], int(shift))
            for channel, shift in enumerate(operator.channel_shifts)
        ]
        return np.clip(np.stack(shifted, axis=1), operator.clip_min, operator.clip_max)
    if operator.residual is not None:
        total = total + (values[operator.residual].astype(np.int64) << operator.residual_shift)
    rounded = total + (1 << (operator.shift - 1)) if operator.shift > 0 else total
    assert np.abs(rounded).max() < 2**31
    return np.clip(plain_shift(total, operator.shift), operator.clip_min, operator.clip_max)


def plain_segment(operators, values):
    """All tensors by name."""
    values = dict(values)
    for operator in operators:
        values[operator.output] = plain_operator(operator, values)
    return values


def quantized_of(operators, shapes, inputs, outputs, exponents=None):
    """A quantized graph of one integer segment whose float inputs are the integers themselves."""
    types = {name: TensorType("float32", shape) for name, shape in shapes.items()}
    source = Graph(
        "hand",
        tuple(inputs),
        tuple(outputs),
        (),
        {},
        types,
        {"": 17},
        (),
        frozenset(shapes),
    )
    exponents = exponents or {}
    tensors = {
        name: QuantizedTensor(name, shape, exponents.get(name, 0)) for name, shape in shapes.items()
    }
    views = {name: TensorView(shapes[name], (0, 1, 2, 3)) for name in (*inputs, *outputs)}
    segment = IntegerSegment("00-vta", "vta", tuple(operators), tuple(inputs), tuple(outputs))
    return QuantizedGraph(source, (segment,), tensors, views)


class GraphBuilder:
    """Graphs node by node; shapes are given, every activation has a dynamic batch."""

    def __init__(self, **inputs):
        self.types = {name: TensorType("float32", (1, *shape)) for name, shape in inputs.items()}
        self.inputs = tuple(inputs)
        self.nodes = []
        self.constants = {}

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        self.types[name] = TensorType(str(self.constants[name].dtype), self.constants[name].shape)
        return name

    def add(self, op, inputs, output, shape, *, clip=None, domain="", **attributes):
        node = Node(f"{op}_{output}", op, tuple(inputs), (output,), attributes, domain, clip)
        self.nodes.append(node)
        self.types[output] = TensorType("float32", (1, *shape))
        return output

    def build(self, *outputs, opset=17):
        activations = frozenset(self.types) - frozenset(self.constants)
        return Graph(
            "hand",
            self.inputs,
            tuple(outputs),
            tuple(self.nodes),
            self.constants,
            self.types,
            {"": opset},
            (),
            activations,
        )


@pytest.fixture(scope="session")
def plain():
    """The plain definitions."""
    return SimpleNamespace(
        operator=plain_operator,
        segment=plain_segment,
        sum=plain_sum,
        windows=plain_windows,
        quantized_of=quantized_of,
        GraphBuilder=GraphBuilder,
    )
