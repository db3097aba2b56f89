# ruff: noqa: E501 - graph text has one line per node

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.explicit_windows import ExplicitWindows
from compiler_core.graph.passes.pad_folding import PadFolding
from tests.compiler_core.graph.passes.arrays import i64, ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_folds_zeros_where_they_mean_the_same(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,5,5] x) => (float y, float u, float v) {
            p = Pad(x, amounts)
            y = Conv(p, w)
            u = AveragePool<kernel_shape=[3,3]>(p)
            r = Relu(x)
            q = Pad(r, amounts)
            v = MaxPool<kernel_shape=[3,3]>(q)
        }""",
        w=ramp(2, 2, 3, 3),
        amounts=i64(0, 0, 1, 1, 0, 0, 1, 0),
    )
    rewritten(
        graph,
        (
            ExplicitWindows(),
            PadFolding(),
        ),
        """
        %y = Conv(%x, @w:float32[2,2,3,3]) {dilations=(1, 1), group=1, kernel_shape=(3, 3), pads=(1, 1, 1, 0), strides=(1, 1)} -> float32[N,2,5,4]
        %u = AveragePool(%x) {count_include_pad=1, kernel_shape=(3, 3), pads=(1, 1, 1, 0), strides=(1, 1)} -> float32[N,2,5,4]
        %r = Relu(%x) -> float32[N,2,5,5]
        %v = MaxPool(%r) {dilations=(1, 1), kernel_shape=(3, 3), pads=(1, 1, 1, 0), strides=(1, 1)} -> float32[N,2,5,4]
        """,
    )


def test_leaves_other_padding(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,5,5] x) => (float y, float z, float u, float v) {
            p = Pad(x, amounts)
            y = MaxPool<kernel_shape=[3,3]>(p)
            z = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(p)
            q = Pad(x, amounts, one)
            u = Conv(q, w)
            o = Pad(x, channels)
            v = Conv(o, k)
        }""",
        w=ramp(2, 2, 3, 3),
        k=ramp(1, 4, 1, 1),
        one=np.float32(1),
        amounts=i64(0, 0, 1, 1, 0, 0, 1, 0),
        channels=i64(0, 1, 0, 0, 0, 1, 0, 0),
    )
    rewritten(
        graph,
        (
            ExplicitWindows(),
            PadFolding(),
        ),
        """
        %p = Pad(%x, (0, 0, 1, 1, 0, 0, 1, 0):int64[8]) -> float32[N,2,7,6]
        %y = MaxPool(%p) {dilations=(1, 1), kernel_shape=(3, 3), pads=(0, 0, 0, 0), strides=(1, 1)} -> float32[N,2,5,4]
        %z = AveragePool(%p) {count_include_pad=0, kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(1, 1)} -> float32[N,2,7,6]
        %q = Pad(%x, (0, 0, 1, 1, 0, 0, 1, 0):int64[8], 1.0:float32[]) -> float32[N,2,7,6]
        %u = Conv(%q, @w:float32[2,2,3,3]) {dilations=(1, 1), group=1, kernel_shape=(3, 3), pads=(0, 0, 0, 0), strides=(1, 1)} -> float32[N,2,5,4]
        %o = Pad(%x, (0, 1, 0, 0, 0, 1, 0, 0):int64[8]) -> float32[N,4,5,5]
        %v = Conv(%o, (-3.0, 2.0, 0.0, -2.0):float32[1,4,1,1]) {dilations=(1, 1), group=1, kernel_shape=(1, 1), pads=(0, 0, 0, 0), strides=(1, 1)} -> float32[N,1,5,5]
        """,
    )


def test_looks_through_a_transpose(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,5,5,2] x) => (float y, float z) {
            p = Pad(x, amounts)
            t = Transpose<perm=[0,3,1,2]>(p)
            y = Conv(t, w)
            z = MaxPool<kernel_shape=[3,3]>(t)
        }""",
        w=ramp(2, 2, 3, 3),
        amounts=i64(0, 1, 2, 0, 0, 0, 1, 0),
    )
    rewritten(
        graph,
        (ExplicitWindows(), PadFolding()),
        """
        %p/unpadded = Transpose(%x) {perm=(0, 3, 1, 2)} -> float32[N,2,5,5]
        %p = Pad(%x, (0, 1, 2, 0, 0, 0, 1, 0):int64[8]) -> float32[N,6,8,2]
        %t = Transpose(%p) {perm=(0, 3, 1, 2)} -> float32[N,2,6,8]
        %y = Conv(%p/unpadded, @w:float32[2,2,3,3]) {dilations=(1, 1), group=1, kernel_shape=(3, 3), pads=(1, 2, 0, 1), strides=(1, 1)} -> float32[N,2,4,6]
        %z = MaxPool(%t) {dilations=(1, 1), kernel_shape=(3, 3), pads=(0, 0, 0, 0), strides=(1, 1)} -> float32[N,2,4,6]
        """,
    )
