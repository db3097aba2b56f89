from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.constant_folding import ConstantFolding
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_computes_constants_but_no_batch(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y, float z) {
            a = Shape(p)
            b = ConstantOfShape(a)
            d = Sub(p, b)
            y = Add(x, d)
            s = Shape(x)
            t = Expand(p, s)
            z = Mul(t, x)
        }""",
        p=ramp(4),
    )
    rewritten(
        graph,
        (ConstantFolding(),),
        """
        %y = Add(%x, (-3.0, 2.0, 0.0, -2.0):float32[4]) -> float32[N,4]
        %s = Shape(%x) -> int64[2]
        %t = Expand((-3.0, 2.0, 0.0, -2.0):float32[4], %s) -> float32[N,4]
        %z = Mul(%t, %x) -> float32[N,4]
        """,
    )
