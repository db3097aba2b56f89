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


def graph_of(
    size, kernel, strides, pads, extra, *, bias=True, clip=None, opset=17, group=1, **attributes
):
    """``[1, 3 * group, ...]`` to ``[1, 5 * group, ...]``, of one to three spatial axes."""
    random = np.random.default_rng(1)
    constants = {"w": random.standard_normal((3 * group, 5, *kernel)).astype(np.float32)}
    if bias:
        constants["b"] = random.standard_normal(5 * group).astype(np.float32)
    count = len(size)
    result = tuple(
        strides[a] * (size[a] - 1) + extra[a] + kernel[a] - pads[a] - pads[count + a]
        for a in range(count)
    )
    types = {name: TensorType("float32", value.shape) for name, value in constants.items()}
    types |= {"x": TensorType("float32", (1, 3 * group, *size))}
    types |= {"y": TensorType("float32", (1, 5 * group, *result))}
    known = {"strides": strides, "pads": pads, "output_padding": extra, "kernel_shape": kernel}
    known |= {"group": group} | attributes
    node = Node("up", "ConvTranspose", ("x", *constants), ("y",), known, "", clip)
    return Graph("hand", ("x",), ("y",), (node,), constants, types, {"": opset}), result


@given(dimensions=st.integers(1, 3), group=st.integers(1, 3), square=st.booleans(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_the_same_function(dimensions, group, square, data):
    def draw(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(dimensions))

    size, kernel, strides = draw(1, 6), draw(1, 5), draw(1, 4)
    strides = strides[:1] * dimensions if square else strides
    pads = tuple(data.draw(st.integers(0, kernel[at % dimensions] - 1)) for at in range(6))
    pads = pads[: 2 * dimensions]
    extra = tuple(data.draw(st.integers(0, stride - 1)) for stride in strides)
    graph, result = graph_of(size, kernel, strides, pads, extra, group=group)
    if min(result) < 1:
        return
    found = TransposedConvolution().apply(graph)
    x = np.random.default_rng(2).standard_normal((1, 3 * group, *size)).astype(np.float32)
    expected = FloatSession(graph).run({"x": x})["y"]
    np.testing.assert_allclose(FloatSession(found).run({"x": x})["y"], expected, atol=1e-4)
    if "ConvTranspose" not in [node.op for node in found.nodes]:
        shapes = {name: known.shape for name, known in found.types.items()}
        assert shapes["y"] == expected.shape


def test_one_axis_is_transposed_and_groups_stay_groups():
    graph, _ = graph_of((9,), (16,), (8,), (4, 4), (0,), group=2)
    found = TransposedConvolution().apply(graph)
    assert [n.op for n in found.nodes] == ["Conv", "Reshape", "Transpose", "Reshape", "Slice"]
    assert found.constants[found.nodes[0].inputs[1]].shape == (80, 3, 2)
    assert found.nodes[0].attributes["group"] == 2
    old, _ = graph_of((9,), (16,), (8,), (4, 4), (0,), opset=10)
    assert TransposedConvolution().apply(old) is old


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
    [{"dilations": (2, 2)}, {"output_shape": (9, 9)}, {"auto_pad": "SAME_UPPER"}],
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
    x = np.random.default_rng(3).standard_normal((1, 3 * groups, 3, 4)).astype(np.float32)
    expected = FloatSession(whole).run({"x": x})["z"]
    np.testing.assert_allclose(FloatSession(found).run({"x": x})["z"], expected, atol=1e-5)
