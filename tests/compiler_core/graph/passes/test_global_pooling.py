from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.global_pooling import GlobalPooling

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_unifies_means(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,4,4] x) => (float y, float z, float u, float v) {
            y = ReduceMean<axes=[2,3]>(x)
            z = ReduceMean<axes=[-1,-2],keepdims=0>(x)
            u = AveragePool<kernel_shape=[4,4]>(x)
            v = ReduceMean<axes=[1,2]>(x)
        }""",
    )
    rewritten(
        graph,
        (GlobalPooling(),),
        """
        %y = GlobalAveragePool(%x) -> float32[N,3,1,1]
        %z/pooled = GlobalAveragePool(%x) -> float32[N,3,1,1]
        %z = Reshape(%z/pooled, (0, 3):int64[2]) -> float32[N,3]
        %u = GlobalAveragePool(%x) -> float32[N,3,1,1]
        %v = ReduceMean(%x) {axes=(1, 2)} -> float32[N,1,1,4]
        """,
    )


def test_means_of_a_normalization_are_no_pools(graph_of: Build, rewritten: Check) -> None:
    """They meet what they are the mean of; those of a gate go through a layer first."""
    graph = graph_of(
        """(float[1,3,8] x) => (float y, float z) {
            m = ReduceMean<axes=[2]>(x)
            d = Sub(x, m)
            s = Mul(d, d)
            v = ReduceMean<axes=[2]>(s)
            r = Sqrt(v)
            y = Div(d, r)
            g = ReduceMean<axes=[2]>(y)
            h = Sigmoid(g)
            z = Mul(y, h)
        }""",
    )
    rewritten(
        graph,
        (GlobalPooling(),),
        """
        %m = ReduceMean(%x) {axes=(2)} -> float32[1,3,1]
        %d = Sub(%x, %m) -> float32[1,3,8]
        %s = Mul(%d, %d) -> float32[1,3,8]
        %v = ReduceMean(%s) {axes=(2)} -> float32[1,3,1]
        %r = Sqrt(%v) -> float32[1,3,1]
        %y = Div(%d, %r) -> float32[1,3,8]
        %g = GlobalAveragePool(%y) -> float32[1,3,1]
        %h = Sigmoid(%g) -> float32[1,3,1]
        %z = Mul(%y, %h) -> float32[1,3,8]
        """,
    )


def test_pools_that_a_converter_has_made_of_a_normalization_are_means(
    graph_of: Build, rewritten: Check
) -> None:
    """tf2onnx does so to the layer normalizations of keras: over features they are no pools."""
    graph = graph_of(
        """(float[1,3,8] x) => (float y, float z) {
            m = GlobalAveragePool(x)
            n = Neg(m)
            r = Mul(n, scale)
            y = Add(x, r)
            g = GlobalAveragePool(y)
            h = Sigmoid(g)
            z = Mul(y, h)
        }""",
        scale=np.ones((1, 1, 8), np.float32),
    )
    rewritten(
        graph,
        (GlobalPooling(),),
        """
        %m = ReduceMean(%x) {axes=(2)} -> float32[1,3,1]
        %n = Neg(%m) -> float32[1,3,1]
        %r = Mul(%n, (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):float32[1,1,8]) -> float32[1,3,8]
        %y = Add(%x, %r) -> float32[1,3,8]
        %g = GlobalAveragePool(%y) -> float32[1,3,1]
        %h = Sigmoid(%g) -> float32[1,3,1]
        %z = Mul(%y, %h) -> float32[1,3,8]
        """,
    )


def test_axes_are_an_input_since_operator_set_18(graph_of: Build, same_function: Check) -> None:
    text = """(float[1,3,4,4] x) => (float y) {
        m = GlobalAveragePool(x)
        y = Sub(x, m)
    }"""
    for opset in (17, 18):
        graph = graph_of(text, opset)
        after = GlobalPooling().apply(graph)
        assert [len(node.inputs) for node in after.nodes if node.op == "ReduceMean"] == [opset - 16]
        same_function(graph, after)
