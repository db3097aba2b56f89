from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.transposes import TransposeMerging, TransposePushing
from tests.compiler_core.graph.passes.arrays import i64, ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_merge_in_pairs(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,4,2] x) => (float y, float z) {
            a = Transpose<perm=[0,2,3,1]>(x)
            b = Transpose<perm=[0,3,1,2]>(a)
            y = Relu(b)
            d = Transpose<perm=[0,2,1,3]>(a)
            z = Relu(d)
        }""",
    )
    rewritten(
        graph,
        (
            TransposeMerging(),
            DeadCode(),
        ),
        """
        %y = Relu(%x) -> float32[N,3,4,2]
        %d = Transpose(%x) {perm=(0, 3, 2, 1)} -> float32[N,2,4,3]
        %z = Relu(%d) -> float32[N,2,4,3]
        """,
    )


def test_are_pushed_through_any_layout(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,4,4] x) => (float y, float z) {
            a = Transpose<perm=[0,2,3,1]>(x)
            b = Add(a, bias)
            d = Relu(b)
            e = Pad(d, amounts)
            h = Concat<axis=3>(e, e)
            m = ReduceMean<axes=[1,2],keepdims=0>(h)
            y = Neg(m)
            z = Transpose<perm=[0,3,1,2]>(h)
        }""",
        bias=ramp(3),
        amounts=i64(0, 1, 2, 0, 0, 0, 0, 0),
    )
    rewritten(
        graph,
        (
            TransposePushing(),
            TransposeMerging(),
            DeadCode(),
        ),
        """
        %b/moved = Add(%x, (-3.0, 2.0, 0.0):float32[1,3,1,1]) -> float32[N,3,4,4]
        %d/moved = Relu(%b/moved) -> float32[N,3,4,4]
        %e/moved = Pad(%d/moved, (0, 0, 1, 2, 0, 0, 0, 0):int64[8]) -> float32[N,3,5,6]
        %z = Concat(%e/moved, %e/moved) {axis=1} -> float32[N,6,5,6]
        %m = ReduceMean(%z) {axes=(2, 3), keepdims=0} -> float32[N,6]
        %y = Neg(%m) -> float32[N,6]
        """,
    )


def test_stay_where_pushing_would_copy_them(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,3,4] x) => (float y, float z) {
            a = Transpose<perm=[0,2,1]>(x)
            y = Relu(a)
            z = Softmax(a)
        }""",
    )
    rewritten(
        graph,
        (TransposePushing(),),
        """
        %a = Transpose(%x) {perm=(0, 2, 1)} -> float32[N,4,3]
        %y = Relu(%a) -> float32[N,4,3]
        %z = Softmax(%a) -> float32[N,4,3]
        """,
    )
