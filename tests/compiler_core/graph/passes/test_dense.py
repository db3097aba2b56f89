from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dense import DenseForming
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_takes_matmul_and_gemm(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,5,3] x, float[N,3] v) => (float y, float z, float u) {
            y = MatMul(x, w)
            z = Gemm<transB=1,alpha=2.0,beta=0.5>(v, t, b)
            s = Add(v, v)
            u = Gemm(s, w, z)
        }""",
        w=ramp(3, 4),
        t=ramp(4, 3),
        b=ramp(1, 4),
    )
    rewritten(
        graph,
        (DenseForming(),),
        """
        %y = nest.Dense(%x, @w:float32[3,4]) -> float32[N,5,4]
        %z = nest.Dense(%v, @t_2:float32[3,4], (-1.5, 1.0, 0.0, -1.0):float32[4]) -> float32[N,4]
        %s = Add(%v, %v) -> float32[N,3]
        %u/product = nest.Dense(%s, @w:float32[3,4]) -> float32[N,4]
        %u = Add(%u/product, %z) -> float32[N,4]
        """,
    )


def test_a_vector_is_a_layer_of_one_output(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of("(float[N,5,3] x) => (float y) { y = MatMul(x, w) }", w=ramp(3))
    rewritten(
        graph,
        (DenseForming(),),
        """
        %y/column = nest.Dense(%x, (-3.0, 2.0, 0.0):float32[3,1]) -> float32[N,5,1]
        %y = Reshape(%y/column, (0, 0):int64[2]) -> float32[N,5]
        """,
    )
