# ruff: noqa: E501 - graph text has one line per node

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.channel_affine import ChannelAffineFolding, fold_affine
from compiler_core.graph.passes.dense import DenseForming
from compiler_core.graph.passes.rewriter import Rewriter
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_folds_scales_and_shifts(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,4,4] x) => (float y, float z) {
            a = Conv(x, w)
            b = Mul(a, m)
            y = Sub(b, s)
            d = Conv(x, w)
            z = Add(d, t)
        }""",
        w=ramp(2, 2, 1, 1),
        m=ramp(2, 1, 1) + 4,
        s=ramp(1),
        t=ramp(1, 4),
    )
    rewritten(
        graph,
        (ChannelAffineFolding(),),
        """
        %y = Conv(%x, (-3.0, 2.0, 0.0, -12.0):float32[2,2,1,1], (3.0, 3.0):float32[2]) -> float32[N,2,4,4]
        %d = Conv(%x, (-3.0, 2.0, 0.0, -2.0):float32[2,2,1,1]) -> float32[N,2,4,4]
        %z = Add(%d, (-3.0, 2.0, 0.0, -2.0):float32[1,4]) -> float32[N,2,4,4]
        """,
    )


def test_makes_the_bias_of_dense(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,5,3] x) => (float y, float z) {
            a = MatMul(x, w)
            y = Add(b, a)
            d = MatMul(x, w)
            z = Add(d, p)
        }""",
        w=ramp(3, 4),
        b=ramp(1, 4),
        p=ramp(1, 5, 4),
    )
    rewritten(
        graph,
        (
            DenseForming(),
            ChannelAffineFolding(),
        ),
        """
        %y = nest.Dense(%x, @w:float32[3,4], (-3.0, 2.0, 0.0, -2.0):float32[4]) -> float32[N,5,4]
        %d = nest.Dense(%x, @w:float32[3,4]) -> float32[N,5,4]
        %z = Add(%d, @p:float32[1,5,4]) -> float32[N,5,4]
        """,
    )


def test_merges_into_batch_norm(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4,2,2] x) => (float y) {
            a = BatchNormalization(x, scale, bias, mean, var)
            b = Mul(a, m)
            y = Add(b, s)
        }""",
        m=ramp(4, 1, 1) + 4,
        s=ramp(4, 1, 1),
        scale=ramp(4) + 4,
        bias=ramp(4),
        mean=-ramp(4),
        var=abs(ramp(4)) + 1,
    )
    rewritten(
        graph,
        (ChannelAffineFolding(),),
        """
        %y = BatchNormalization(%x, (1.0, 36.0, 16.0, 4.0):float32[4], (-6.0, 14.0, 0.0, -6.0):float32[4], (3.0, -2.0, -0.0, 2.0):float32[4], (4.0, 3.0, 1.0, 3.0):float32[4]) -> float32[N,4,2,2]
        """,
    )


def test_leaves_what_has_other_channels(graph_of: Build) -> None:
    graph = graph_of(
        """(float[2,3] x) => (float y) {
            a = MatMul(x, w)
            y = Add(a, b)
        }""",
        w=ramp(3, 4),
        b=ramp(4),
    )
    dense = DenseForming().apply(graph)
    bias = next(node.inputs[1] for node in dense.nodes if node.op == "Add")
    wrong = replace(dense, constants={**dense.constants, bias: ramp(7)})
    assert ChannelAffineFolding().apply(wrong) is wrong
    rewriter = Rewriter(dense)
    layer, addition = rewriter.nodes()
    assert not fold_affine(rewriter, layer, addition, np.ones(7), np.zeros(7))
    assert rewriter.finish() is dense
