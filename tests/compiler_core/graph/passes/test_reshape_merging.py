from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.reshape_merging import ReshapeMerging
from tests.compiler_core.graph.passes.arrays import i64, ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_merges_every_change_of_shape(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,1,2] x) => (float y) {
            a = Squeeze(x, axes)
            b = Flatten(a)
            d = Reshape(b, to)
            y = Transpose<perm=[0,2,1]>(d)
        }""",
        axes=i64(2),
        to=i64(-1, 6, 1),
    )
    rewritten(
        graph,
        (
            ReshapeMerging(),
            DeadCode(),
        ),
        """
        %y = Reshape(%x, (0, 1, 6):int64[3]) -> float32[N,1,6]
        """,
    )


def test_resolves_computed_targets(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,1,2] x) => (float y) {
            s = Shape(x)
            n = Gather(s, zero)
            t = Concat<axis=0>(n, rest)
            y = Reshape(x, t)
        }""",
        zero=i64(0),
        rest=i64(-1),
    )
    rewritten(
        graph,
        (
            ReshapeMerging(),
            DeadCode(),
        ),
        """
        %y = Reshape(%x, (0, 6):int64[2]) -> float32[N,6]
        """,
    )


def test_leaves_a_batch_that_moves(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,2] x) => (float y) {
            a = Reshape(x, rows)
            b = MatMul(a, w)
            y = Reshape(b, back)
        }""",
        w=ramp(2, 2),
        rows=i64(-1, 2),
        back=i64(-1, 3, 2),
    )
    rewritten(
        graph,
        (ReshapeMerging(),),
        """
        %a = Reshape(%x, (-1, 2):int64[2]) -> float32[3,2]*
        %b = MatMul(%a, (-3.0, 2.0, 0.0, -2.0):float32[2,2]) -> float32[3,2]*
        %y = Reshape(%b, (-1, 3, 2):int64[3]) -> float32[N,3,2]
        """,
    )
