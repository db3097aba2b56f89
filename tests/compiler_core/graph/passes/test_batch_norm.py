# ruff: noqa: E501 - graph text has one line per node

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.batch_norm import BatchNormFolding, BatchNormToConv
from compiler_core.graph.passes.dense import DenseForming
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]

NORM = {"scale": ramp(4) + 4, "bias": ramp(4), "mean": -ramp(4), "var": abs(ramp(4)) + 1}


def test_folds_into_convolution(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,4,4] x) => (float y, float z) {
            a = Conv(x, w)
            y = BatchNormalization(a, scale, bias, mean, var)
            b = Conv(x, w)
            d = Relu(b)
            z = BatchNormalization(d, scale, bias, mean, var)
        }""",
        w=ramp(4, 2, 1, 1),
        **NORM,
    )
    rewritten(
        graph,
        (BatchNormFolding(),),
        """
        %y = Conv(%x, (-1.4999981, 0.99999875, 0.0, -6.9281917, 11.99994, 3.99998, -1.1546986, -3.4640958):float32[4,2,1,1], (-4.499998, 8.928192, 0.0, -4.309397):float32[4]) -> float32[N,4,4,4]
        %b = Conv(%x, (-3.0, 2.0, 0.0, -2.0, 3.0, 1.0, -1.0, -3.0):float32[4,2,1,1]) -> float32[N,4,4,4]
        %d = Relu(%b) -> float32[N,4,4,4]
        %z = BatchNormalization(%d, (1.0, 6.0, 4.0, 2.0):float32[4], (-3.0, 2.0, 0.0, -2.0):float32[4], (3.0, -2.0, -0.0, 2.0):float32[4], (4.0, 3.0, 1.0, 3.0):float32[4]) -> float32[N,4,4,4]
        """,
    )


def test_folds_into_depthwise_convolution_with_bias(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4,4,4] x) => (float y) {
            a = Conv<group=4>(x, w, b)
            y = BatchNormalization(a, scale, bias, mean, var)
        }""",
        w=ramp(4, 1, 1, 2),
        b=ramp(4),
        **NORM,
    )
    rewritten(
        graph,
        (BatchNormFolding(),),
        """
        %y = Conv(%x, (-1.4999981, 0.99999875, 0.0, -6.9281917, 11.99994, 3.99998, -1.1546986, -3.4640958):float32[4,1,1,2], (-5.999996, 15.856383, 0.0, -6.6187944):float32[4]) {group=4} -> float32[N,4,4,3]
        """,
    )


def test_folds_into_dense(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3] x) => (float y) {
            a = Gemm(x, w)
            y = BatchNormalization(a, scale, bias, mean, var)
        }""",
        w=ramp(3, 4),
        **NORM,
    )
    rewritten(
        graph,
        (
            DenseForming(),
            BatchNormFolding(),
        ),
        """
        %y = nest.Dense(%x, @w_2:float32[3,4], (-4.499998, 8.928192, 0.0, -4.309397):float32[4]) -> float32[N,4]
        """,
    )


def test_folds_into_dense_behind_joined_axes(
    graph_of: Build, same_function: Callable[..., None]
) -> None:
    graph = graph_of(
        """(float[2,5,3] x) => (float y, float z, float u, float v) {
            a = MatMul(x, w)
            r = Reshape(a, rows)
            n = BatchNormalization(r, scale, bias, mean, var)
            y = Reshape(n, tokens)
            b = MatMul(x, w)
            s = Reshape(b, others)
            z = BatchNormalization(s, scale, bias, mean, var)
            c = MatMul(x, w)
            u = Reshape(c, rows)
            v = BatchNormalization(u, scale, bias, mean, var)
        }""",
        w=ramp(3, 4),
        rows=np.array([10, 4]),
        others=np.array([5, 4, 2]),
        tokens=np.array([2, 5, 4]),
        **NORM,
    )
    found = BatchNormFolding().apply(DenseForming().apply(graph))
    same_function(graph, found)
    assert [node.op for node in found.nodes].count("BatchNormalization") == 2
    folded = next(node for node in found.nodes if len(node.inputs) == 3 and node.op == "Dense")
    assert folded.output == "a"


def test_leaves_sequences_of_dense(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4,3] x) => (float y) {
            a = MatMul(x, w)
            y = BatchNormalization(a, scale, bias, mean, var)
        }""",
        w=ramp(3, 5),
        **NORM,
    )
    rewritten(
        graph,
        (
            DenseForming(),
            BatchNormFolding(),
        ),
        """
        %a = nest.Dense(%x, @w:float32[3,5]) -> float32[N,4,5]
        %y = BatchNormalization(%a, (1.0, 6.0, 4.0, 2.0):float32[4], (-3.0, 2.0, 0.0, -2.0):float32[4], (3.0, -2.0, -0.0, 2.0):float32[4], (4.0, 3.0, 1.0, 3.0):float32[4]) -> float32[N,4,5]
        """,
    )


def test_becomes_depthwise_convolution(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4,2,2] x) => (float y) {
            y = BatchNormalization(x, scale, bias, mean, var)
        }""",
        **NORM,
    )
    rewritten(
        graph,
        (BatchNormToConv(),),
        """
        %y = Conv(%x, (0.49999937, 3.4640958, 3.99998, 1.1546986):float32[4,1,1,1], (-4.499998, 8.928192, 0.0, -4.309397):float32[4]) {dilations=(1, 1), group=4, kernel_shape=(1, 1), pads=(0, 0, 0, 0), strides=(1, 1)} -> float32[N,4,2,2]
        """,
    )
