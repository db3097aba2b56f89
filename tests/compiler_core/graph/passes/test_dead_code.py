from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_drops_what_no_output_needs(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y) {
            y = Relu(x)
            z = Add(y, p)
            u = Neg(z)
        }""",
        p=ramp(4),
    )
    rewritten(
        graph,
        (DeadCode(),),
        """
        %y = Relu(%x) -> float32[N,4]
        """,
    )
