from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.activation_fusion import ActivationFusion
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_fuses_where_nothing_else_reads(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,4,4] x) => (float y, float z) {
            a = Conv(x, w)
            b = Relu(a)
            y = Clip(b, lo, hi)
            d = Conv(x, w)
            e = Relu(d)
            z = Add(d, e)
        }""",
        w=ramp(2, 2, 1, 1),
        lo=np.float32(1),
        hi=np.float32(6),
    )
    rewritten(
        graph,
        (ActivationFusion(),),
        """
        %y = Conv(%x, (-3.0, 2.0, 0.0, -2.0):float32[2,2,1,1]) clip[1.0, 6.0] -> float32[N,2,4,4]
        %d = Conv(%x, (-3.0, 2.0, 0.0, -2.0):float32[2,2,1,1]) -> float32[N,2,4,4]
        %e = Relu(%d) -> float32[N,2,4,4]
        %z = Add(%d, %e) -> float32[N,2,4,4]
        """,
    )


def test_clamps_what_a_concat_joins(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,4,4] x) => (float y) {
            a = Conv(x, w)
            b = AveragePool<kernel_shape=[1,1]>(x)
            k = Concat<axis=1>(a, b)
            y = Relu(k)
        }""",
        w=ramp(2, 2, 1, 1),
    )
    rewritten(
        graph,
        (ActivationFusion(),),
        """
        %a = Conv(%x, (-3.0, 2.0, 0.0, -2.0):float32[2,2,1,1]) clip[0.0, inf] -> float32[N,2,4,4]
        %b = AveragePool(%x) {kernel_shape=(1, 1)} clip[0.0, inf] -> float32[N,2,4,4]
        %y = Concat(%a, %b) {axis=1} -> float32[N,4,4,4]
        """,
    )


def test_leaves_computed_bounds_and_outputs(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2] x, float low) => (float y, float z, float u) {
            a = Add(x, x)
            y = Clip(a, low)
            z = Mul(x, x)
            u = Relu(z)
        }""",
    )
    rewritten(
        graph,
        (ActivationFusion(),),
        """
        %a = Add(%x, %x) -> float32[N,2]
        %y = Clip(%a, %low) -> float32[N,2]
        %z = Mul(%x, %x) -> float32[N,2]
        %u = Relu(%z) -> float32[N,2]
        """,
    )
