"""Convolutions over volumes as convolutions over images: the same function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nest_tune
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.volume_convolution import VolumeConvolution
from compiler_core.graph.session import FloatSession

FILTERS = 24
"""Enough products for every value that is moved."""


def graph_of(size, kernel, strides, pads, dilations, *, group=1, filters=FILTERS, clip=None):
    """``[1, 2 * group, D, H, W]`` to ``[1, filters * group, ...]``; ``None`` for no result."""
    random = np.random.default_rng(1)
    constants = {"w": random.standard_normal((filters * group, 2, *kernel)).astype(np.float32)}
    constants["b"] = random.standard_normal(filters * group).astype(np.float32)
    result = tuple(
        (size[a] + pads[a] + pads[3 + a] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1
        for a in range(3)
    )
    types = {name: TensorType("float32", value.shape) for name, value in constants.items()}
    types |= {"x": TensorType("float32", (1, 2 * group, *size))}
    types |= {"y": TensorType("float32", (1, filters * group, *result))}
    known = {"strides": strides, "pads": pads, "dilations": dilations, "kernel_shape": kernel}
    node = Node("deep", "Conv", ("x", "w", "b"), ("y",), known | {"group": group}, "", clip)
    graph = Graph("hand", ("x",), ("y",), (node,), constants, types, {"": 17})
    return graph if min(result) > 0 else None


@given(group=st.integers(1, 3), data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_same_function(group, data):
    def draw(low, high, count=3):
        return tuple(data.draw(st.integers(low, high)) for _ in range(count))

    size, kernel = draw(1, 7), draw(1, 3)
    graph = graph_of(size, kernel, draw(1, 3), draw(0, 2, 6), draw(1, 2), group=group)
    if graph is None:
        return
    found = VolumeConvolution().apply(graph)
    x = np.random.default_rng(2).standard_normal((1, 2 * group, *size)).astype(np.float32)
    expected = FloatSession(graph).run({"x": x})["y"]
    assert found.types["y"].shape == expected.shape
    np.testing.assert_allclose(FloatSession(found).run({"x": x})["y"], expected, atol=1e-4)


def test_a_clamp_stays_with_the_sum_and_images_need_no_cut_where_no_row_is_padded():
    graph = graph_of((4, 6, 6), (3, 1, 1), (1, 1, 1), (1, 0, 0) * 2, (1, 1, 1), clip=(0.0, 6.0))
    found = VolumeConvolution().apply(graph)
    operators = ["Pad", "Slice", "Slice", "Slice", "Concat", "Reshape", "Conv", "Reshape"]
    assert [node.op for node in found.nodes] == operators
    assert found.nodes[6].clip == (0.0, 6.0)
    assert found.constants[found.nodes[6].inputs[1]].shape == (FILTERS, 6, 1, 1)


@pytest.mark.parametrize("change", [{"filters": 1}, {"pads": (-1, 0, 0, 0, 0, 0)}])
def test_others_stay(change):
    known = {"pads": (1,) * 6, "filters": FILTERS} | change
    pads = known.pop("pads")
    graph = graph_of((4, 6, 6), (3, 3, 1), (2, 2, 2), pads, (1, 1, 1), **known)
    assert VolumeConvolution().apply(graph) is graph


def test_products_along_the_channels_move_nothing():
    graph = graph_of((4, 6, 6), (1, 1, 1), (1, 1, 1), (0,) * 6, (1, 1, 1), filters=2)
    found = VolumeConvolution().apply(graph)
    assert [node.op for node in found.nodes] == ["Reshape", "Conv", "Reshape"]


def test_volumes_that_double_run_on_the_npu(tmp_path: Path) -> None:
    """The way up of a 3-D U-Net."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    m (float[N,24,3,4,4] x) => (float[N,2,6,8,8] y) {
        a = ConvTranspose <strides = [2, 2, 2], kernel_shape = [2, 2, 2]> (x, w)
        b = Relu (a)
        y = Conv <kernel_shape = [1, 1, 1]> (b, v)
    }
    """
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(3)
    for name, shape in (("w", (24, 16, 2, 2, 2)), ("v", (2, 16, 1, 1, 1))):
        weight = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, tmp_path / "m.onnx")
    data = {"x": random.standard_normal((8, 24, 3, 4, 4)).astype(np.float32)}
    made = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration=data)
    assert made.macs_share_npu == 1.0
    assert nest_tune.run(tmp_path / "out", data, check=True).bit_exact


def test_volumes_run_on_the_npu(tmp_path: Path) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    m (float[N,3,6,12,12] x) => (float[N,20,3,6,6] y) {
        a = Conv <strides = [2, 2, 2], pads = [1, 1, 1, 1, 1, 1]> (x, w)
        y = Relu (a)
    }
    """
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(3)
    weight = random.standard_normal((20, 3, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    data = {"x": random.standard_normal((8, 3, 6, 12, 12)).astype(np.float32)}
    made = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration=data)
    assert made.macs_share_npu == 1.0
    assert nest_tune.run(tmp_path / "out", data, check=True).bit_exact
