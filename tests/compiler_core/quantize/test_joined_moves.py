"""Moves of the CPU that are one loop: forks to several readers, views on the way, windows."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.ir import Node, TensorType
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target


def dense(b, x, name, shape, inputs, outputs, seed):
    weight = np.random.default_rng(seed).standard_normal((inputs, outputs)) / np.sqrt(inputs)
    w = b.constant(f"{name}_w", weight.astype(np.float32))
    return b.add("MatMul", [x, w], name, (*shape, outputs))


def reshape(b, x, name, shape):
    sizes = b.constant(f"{name}_shape", np.array([0, *shape], np.int64))
    return b.add("Reshape", [x, sizes], name, shape)


def heads_from_one_projection(plain, windows, tokens, heads, width):
    """Queries, keys and values of windows of tokens are split from one projection."""
    inner, places = heads * width, (windows, tokens)
    b = plain.GraphBuilder(x=(*places, 16))
    dense(b, "x", "p", places, 16, 3 * inner, 1)
    reshape(b, "p", "r", (*places, 3, heads, width))
    order = (3, windows, heads, tokens, width)
    b.add("Transpose", ["r"], "t", order, perm=(0, 3, 1, 4, 2, 5))
    sizes = b.constant("sizes", np.array([1, 1, 1], np.int64))
    one, names = (1, *order[1:]), ("sq", "sk", "sv")
    b.types |= {name: TensorType("float32", (1, *one)) for name in names}
    b.nodes.append(Node("Split_s", "Split", ("t", sizes), names, {"axis": 1}))
    shape, scores = order[1:], (windows, heads, tokens, tokens)
    q, k, v = (reshape(b, f"s{name}", name, shape) for name in "qkv")
    b.add("Transpose", [k], "kt", (windows, heads, width, tokens), perm=(0, 1, 2, 4, 3))
    b.add("MatMul", [q, "kt"], "s", scores)
    b.add("Softmax", ["s"], "a", scores, axis=-1)
    b.add("MatMul", ["a", v], "o", shape)
    b.add("Transpose", ["o"], "ot", (windows, tokens, heads, width), perm=(0, 1, 3, 2, 4))
    reshape(b, "ot", "f", (*places, inner))
    dense(b, "f", "y", places, inner, 4, 2)
    return b.build("y")


def rolled_windows(plain, size, window, channels):
    """Tokens are rolled by half a window and cut into windows, and put back."""
    count, shift = size // window, window // 2
    b = plain.GraphBuilder(x=(size, size, channels))
    last = dense(b, "x", "p", (size, size), channels, channels, 1)
    last = roll(b, last, "there", size, channels, shift)
    apart = (count, window, count, window, channels)
    reshape(b, last, "apart", apart)
    turned = (count, count, window, window, channels)
    b.add("Transpose", ["apart"], "turned", turned, perm=(0, 1, 3, 2, 4, 5))
    windows = (count * count, window * window)
    reshape(b, "turned", "windows", (*windows, channels))
    dense(b, "windows", "m", windows, channels, channels, 2)
    reshape(b, "m", "again", turned)
    b.add("Transpose", ["again"], "back", apart, perm=(0, 1, 3, 2, 4, 5))
    last = reshape(b, "back", "image", (size, size, channels))
    last = roll(b, last, "home", size, channels, size - shift)
    dense(b, last, "y", (size, size), channels, 4, 3)
    return b.build("y")


def roll(b, x, name, size, channels, shift):
    """Both axes of an image of tokens."""
    for axis in (1, 2):
        parts = []
        for part, (first, end) in enumerate(((shift, size), (0, shift))):
            sizes = [size, size, channels]
            sizes[axis - 1] = end - first
            limits = [
                b.constant(f"{name}{axis}{part}{k}", np.array([v], np.int64))
                for k, v in (("f", first), ("e", end), ("a", axis))
            ]
            parts.append(b.add("Slice", [x, *limits], f"{name}{axis}{part}", tuple(sizes)))
        x = b.add("Concat", parts, f"{name}{axis}", (size, size, channels), axis=axis)
    return x


def check(graph):
    data = np.random.default_rng(5).standard_normal((3, *graph.types["x"].shape[1:]))
    samples = {"x": data.astype(np.float32)}
    plan = default_assignment(graph)
    source = quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), samples)
    expected = ReferenceExecutor(source.quantized).run(samples)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number in range(3):
        results = session.run(None, {"x": samples["x"][number : number + 1]})
        for name, result in zip(graph.outputs, results, strict=True):
            np.testing.assert_array_equal(result[0], expected[name][number])
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), samples)[1] is None
    return source.quantized.host.groups


@given(
    windows=st.integers(1, 3),
    tokens=st.integers(1, 20),
    heads=st.integers(1, 3),
    width=st.sampled_from([4, 8, 16, 24]),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_heads_of_one_projection_are_the_same_everywhere(plain, windows, tokens, heads, width):
    check(heads_from_one_projection(plain, windows, tokens, heads, width))


def fork(plain, size, channels, lone):
    """Rows are shuffled and split, and each half is made larger; one half may be read as it is."""
    b = plain.GraphBuilder(x=(3, size, 2 * size))
    for name, shape in (("wa", (channels, 3, 1, 1)), ("wy", (4, channels, 1, 1))):
        weight = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
        b.constant(name, weight)
    b.add("Conv", ["x", "wa"], "a", (channels, size, 2 * size), kernel_shape=(1, 1))
    order = b.constant("order", np.arange(size)[::-1].copy())
    b.add("Gather", ["a", order], "g", (channels, size, 2 * size), axis=2)
    sizes = b.constant("sizes", np.array([size, size], np.int64))
    b.types |= {name: TensorType("float32", (1, channels, size, size)) for name in "st"}
    b.nodes.append(Node("Split_s", "Split", ("g", sizes), ("s", "t"), {"axis": 3}))
    scales = b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    large = (channels, 2 * size, 2 * size)
    for name in "st":
        b.add(
            "Resize",
            [name, "", scales],
            f"{name}r",
            large,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    b.add("Add", ["sr", "tr"], "j", large)
    outputs = [b.add("Conv", ["j", "wy"], "y", (4, *large[1:]), kernel_shape=(1, 1))]
    if lone:
        b.add("Sigmoid", ["s"], "q", (channels, size, size))
        outputs.append(b.add("Conv", ["q", "wy"], "z", (4, size, size), kernel_shape=(1, 1)))
    return b.build(*outputs)


@given(size=st.integers(1, 5), channels=st.sampled_from([3, 16, 20]), lone=st.booleans())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_split_and_moved_on_is_one_loop(plain, size, channels, lone):
    moved = [group for group in check(fork(plain, size, channels, lone)) if group.moves]
    if not lone:
        (group,) = moved
        assert group.nodes == ("Gather_g", "Split_s", "Resize_sr", "Resize_tr")
        assert group.outputs == ("sr", "tr")
    else:
        assert len(moved) == 3


@pytest.mark.parametrize(("size", "window", "channels"), [(8, 4, 32), (4, 2, 16), (8, 2, 20)])
def test_rolled_windows_are_moved_once_each_way(plain, size, window, channels):
    groups = check(rolled_windows(plain, size, window, channels))
    assert len([group for group in groups if group.moves]) == 2
