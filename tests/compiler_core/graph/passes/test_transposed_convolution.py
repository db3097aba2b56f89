"""Transposed convolutions as interleaved ones: the same function, whatever kernel and stride."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.channel_affine import ChannelAffineFolding
from compiler_core.graph.passes.transposed_convolution import TransposedConvolution, phases_of
from compiler_core.graph.session import FloatSession


def graph_of(size, kernel, strides, pads, extra, *, bias=True, clip=None, opset=17, **attributes):
    random = np.random.default_rng(1)
    constants = {"w": random.standard_normal((3, 5, *kernel)).astype(np.float32)}
    if bias:
        constants["b"] = random.standard_normal(5).astype(np.float32)
    result = tuple(
        strides[a] * (size[a] - 1) + extra[a] + kernel[a] - pads[a] - pads[2 + a] for a in range(2)
    )
    types = {name: TensorType("float32", value.shape) for name, value in constants.items()}
    types |= {"x": TensorType("float32", (1, 3, *size))}
    types |= {"y": TensorType("float32", (1, 5, *result))}
    known = {"strides": strides, "pads": pads, "output_padding": extra, "kernel_shape": kernel}
    known |= attributes
    node = Node("up", "ConvTranspose", ("x", *constants), ("y",), known, "", clip)
    return Graph("hand", ("x",), ("y",), (node,), constants, types, {"": opset}), result


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_same_function(size, kernel, stride, data):
    pads = tuple(data.draw(st.integers(0, kernel[at % 2] - 1)) for at in range(4))
    extra = tuple(data.draw(st.integers(0, stride - 1)) for _ in range(2))
    graph, result = graph_of(size, kernel, (stride, stride), pads, extra)
    if min(result) < 1:
        return
    found = TransposedConvolution().apply(graph)
    x = np.random.default_rng(2).standard_normal((1, 3, *size)).astype(np.float32)
    expected = FloatSession(graph).run({"x": x})["y"]
    np.testing.assert_allclose(FloatSession(found).run({"x": x})["y"], expected, atol=1e-4)
    if "ConvTranspose" not in [node.op for node in found.nodes]:
        shapes = {name: known.shape for name, known in found.types.items()}
        assert shapes["y"] == expected.shape


def test_a_doubling_is_a_convolution_of_pixels():
    graph, _ = graph_of((4, 6), (2, 2), (2, 2), (0, 0, 0, 0), (0, 0), clip=(0.0, np.inf))
    found = TransposedConvolution().apply(graph)
    assert [node.op for node in found.nodes] == ["Conv", "DepthToSpace"]
    conv = found.nodes[0]
    assert found.constants[conv.inputs[1]].shape == (20, 3, 1, 1)
    assert conv.clip == (0.0, np.inf)


def test_nothing_is_multiplied_more_often_than_a_ragged_kernel_needs():
    for kernel, stride, pad in ((4, 2, 1), (3, 2, 1), (6, 3, 2), (16, 8, 4)):
        result = stride * 7 + kernel - 2 * pad
        found = phases_of(8, kernel, stride, pad, result)
        assert found is not None
        assert found.taps == -(-kernel // stride)


@pytest.mark.parametrize(
    "attributes",
    [{"group": 3}, {"dilations": (2, 2)}, {"output_shape": (9, 9)}, {"auto_pad": "SAME_UPPER"}],
)
def test_others_stay(attributes):
    graph, _ = graph_of((4, 4), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), **attributes)
    assert TransposedConvolution().apply(graph) is graph


def test_without_slices_by_inputs_a_cut_one_stays():
    graph, _ = graph_of((4, 4), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), opset=9)
    assert TransposedConvolution().apply(graph) is graph
    graph, _ = graph_of((4, 4), (2, 2), (2, 2), (0, 0, 0, 0), (0, 0), opset=9)
    assert TransposedConvolution().apply(graph) is not graph


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("op", ["Add", "Mul", "Div"])
def test_scales_and_shifts_behind_it_fold_into_it(op, groups):
    graph, result = graph_of((3, 4), (3, 2), (2, 2), (1, 0, 0, 0), (0, 0), group=groups)
    outputs = 5 * groups
    values = np.linspace(0.5, 2, outputs).astype(np.float32)
    constants = {**graph.constants, "v": values.reshape(1, -1, 1, 1)}
    constants["b"] = np.linspace(-1, 1, outputs).astype(np.float32)
    wide = TensorType("float32", (1, outputs, *result))
    types = {**graph.types, "y": wide, "z": wide}
    types |= {name: TensorType("float32", constants[name].shape) for name in ("v", "b")}
    nodes = (*graph.nodes, Node("behind", op, ("y", "v"), ("z",), {}, "", (0.0, 9.0)))
    whole = replace(graph, nodes=nodes, outputs=("z",), constants=constants, types=types)
    found = ChannelAffineFolding().apply(whole)
    assert [node.op for node in found.nodes] == ["ConvTranspose"]
    x = np.random.default_rng(3).standard_normal((1, 3, 3, 4)).astype(np.float32)
    expected = FloatSession(whole).run({"x": x})["z"]
    np.testing.assert_allclose(FloatSession(found).run({"x": x})["z"], expected, atol=1e-5)
