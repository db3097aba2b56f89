from __future__ import annotations

from collections.abc import Callable

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
