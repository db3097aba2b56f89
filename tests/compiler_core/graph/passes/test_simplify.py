from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify

Build = Callable[..., Graph]
Check = Callable[..., None]


def ops(graph: Graph) -> list[str]:
    return [node.op + "+clip" * (node.clip is not None) for node in graph.nodes]


def test_a_model_of_nhwc_origin_loses_its_transposes(graph_of: Build, same_function: Check) -> None:
    """As converters write them: a Transpose around every convolution, the rest in NHWC."""
    rng = np.random.default_rng(0)
    graph = graph_of(
        """(float[N,8,8,3] x) => (float y) {
            p = Pad(x, amounts)
            a = Transpose<perm=[0,3,1,2]>(p)
            b = Conv<strides=[2,2]>(a, w1)
            d = Transpose<perm=[0,2,3,1]>(b)
            e = Add(d, bias)
            f = Clip(e, low, high)
            h = Transpose<perm=[0,3,1,2]>(f)
            i = Conv<auto_pad="SAME_UPPER">(h, w2)
            j = Transpose<perm=[0,2,3,1]>(i)
            k = Add(j, f)
            l = Relu(k)
            m = ReduceMean<axes=[1,2],keepdims=0>(l)
            o = MatMul(m, v)
            y = Add(o, bias)
        }""",
        w1=rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        w2=rng.standard_normal((4, 4, 3, 3)).astype(np.float32),
        v=rng.standard_normal((4, 4)).astype(np.float32),
        bias=rng.standard_normal(4).astype(np.float32),
        low=np.float32(0),
        high=np.float32(6),
        amounts=np.array([0, 0, 0, 0, 0, 1, 1, 0], np.int64),
    )
    simple = simplify(graph)
    assert ops(simple) == [
        "Transpose", "Conv+clip", "Conv", "Add+clip", "GlobalAveragePool", "Reshape", "Dense",
    ]  # fmt: skip
    same_function(graph, simple)


def test_one_input_channel_needs_no_transpose(graph_of: Build, same_function: Check) -> None:
    graph = graph_of(
        """(float[N,6,6,1] x) => (float y) {
            a = Transpose<perm=[0,3,1,2]>(x)
            y = Conv(a, w)
        }""",
        w=np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3),
    )
    simple = simplify(graph)
    assert ops(simple) == ["Reshape", "Conv"]
    same_function(graph, simple)


def test_slice_and_pad_shortcuts_stay(graph_of: Build, same_function: Check) -> None:
    graph = graph_of(
        """(float[N,2,8,8] x) => (float y) {
            a = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w)
            s = Slice(x, zeros, ends, axes, twos)
            p = Pad(s, channels)
            b = Add(a, p)
            y = Relu(b)
        }""",
        w=np.arange(72, dtype=np.float32).reshape(4, 2, 3, 3) - 30,
        zeros=np.array([0, 0], np.int64),
        ends=np.array([8, 8], np.int64),
        axes=np.array([2, 3], np.int64),
        twos=np.array([2, 2], np.int64),
        channels=np.array([0, 1, 0, 0, 0, 1, 0, 0], np.int64),
    )
    simple = simplify(graph)
    assert ops(simple) == ["Conv", "Slice", "Pad", "Add+clip"]
    same_function(graph, simple, atol=1e-3)


def test_channel_shuffle_keeps_the_batch_free(graph_of: Build, same_function: Check) -> None:
    graph = graph_of(
        """(float[N,4,3,3] x) => (float y) {
            s = Shape(x)
            n = Gather(s, first)
            t = Concat<axis=0>(n, groups)
            a = Reshape(x, t)
            b = Transpose<perm=[0,2,1,3,4]>(a)
            d = Reshape(b, s)
            y = Relu(d)
        }""",
        first=np.array([0], np.int64),
        groups=np.array([2, 2, 3, 3], np.int64),
    )
    simple = simplify(graph)
    assert ops(simple) == ["Reshape", "Transpose", "Reshape", "Relu"]
    assert simple.dynamic_batch
    same_function(graph, simple)


def test_quantized_weights_become_floats(graph_of: Build) -> None:
    """Of the values that they stand for; the target's own quantization comes later."""
    graph = graph_of(
        """(float[N,2,4,4] x) => (float y) {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            v = DequantizeLinear(w, s)
            y = Conv(d, v)
        }""",
        w=np.arange(8, dtype=np.int8).reshape(4, 2, 1, 1),
        s=np.float32(0.125),
        z=np.int8(0),
    )
    simple = simplify(graph)
    assert ops(simple) == ["Conv"]
    (conv,) = simple.nodes
    weights = simple.constants[conv.inputs[1]]
    np.testing.assert_array_equal(weights.ravel(), np.arange(8, dtype=np.float32) / 8)


def _chain(length: int) -> onnx.ModelProto:
    """``length`` blocks of BatchNormalization, Relu, Identity, Transpose pairs and an Add."""
    text = []
    for i in range(length):
        text.append(f"""
            a{i} = BatchNormalization(x{i}, g, b, b, g) r{i} = Relu(a{i}) i{i} = Identity(r{i})
            t{i} = Transpose<perm=[0,2,3,1]>(i{i}) u{i} = Transpose<perm=[0,3,1,2]>(t{i})
            x{i + 1} = Add(u{i}, x{i})""")
    body = "\n".join(text)
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    signature = f"(float[N,2,4,4] x0) => (float x{length})"
    model = onnx.parser.parse_model(f"{head} g {signature} {{{body}}}")
    for name, value in (("g", 0.01), ("b", 0.02)):
        array = np.full(2, value, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def test_time_grows_with_the_number_of_nodes() -> None:
    """4800 nodes, measured 0.5 s; a pass of cubic time would not end within the test's."""
    graph = import_model(_chain(800))
    simple = simplify(graph)
    assert Counter(ops(simple)) == {"Conv+clip": 800, "Add": 800}
