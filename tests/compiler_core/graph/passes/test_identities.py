from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.identities import Identities
from tests.compiler_core.graph.passes.arrays import i64

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_removes_what_does_nothing(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y) {
            a = Identity(x)
            b, m = Dropout(a)
            d = Cast<to=1>(b)
            e = Mul(d, one)
            f = Sum(e, e)
            h = Concat<axis=1>(f)
            k = Slice(h, zero, end, axis)
            y = Relu(k)
        }""",
        one=np.float32(1),
        zero=i64(0),
        end=i64(99),
        axis=i64(1),
    )
    rewritten(
        graph,
        (Identities(),),
        """
        %f = Add(%x, %x) -> float32[N,4]
        %y = Relu(%f) -> float32[N,4]
        """,
    )


def test_keeps_names_of_outputs(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y, float z) {
            a = Relu(x)
            y = Identity(a)
            z = Identity(x)
        }""",
    )
    rewritten(
        graph,
        (Identities(),),
        """
        %y = Relu(%x) -> float32[N,4]
        %z = Identity(%x) -> float32[N,4]
        """,
    )


def test_keeps_reversal_and_broadcast(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y, float z) {
            y = Slice(x, last, before, axis, step)
            z = Mul(x, ones)
        }""",
        last=i64(-1),
        before=i64(-99),
        axis=i64(1),
        step=i64(-1),
        ones=np.ones((2, 1, 1), np.float32),
    )
    rewritten(
        graph,
        (Identities(),),
        """
        %y = Slice(%x, (-1):int64[1], (-99):int64[1], (1):int64[1], (-1):int64[1]) -> float32[1,4]
        %z = Mul(%x, (1.0, 1.0):float32[2,1,1]) -> float32[2,1,4]
        """,
    )
