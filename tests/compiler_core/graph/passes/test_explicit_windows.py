# ruff: noqa: E501 - graph text has one line per node

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.explicit_windows import ExplicitWindows
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_spells_out_pads(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,5,6] x) => (float y, float z, float u, float v) {
            y = Conv<auto_pad="SAME_UPPER",strides=[2,2]>(x, w)
            z = MaxPool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1>(x)
            u = AveragePool<kernel_shape=[2,2],auto_pad="SAME_LOWER">(x)
            v = AveragePool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1,count_include_pad=1>(x)
        }""",
        w=ramp(2, 2, 3, 3),
    )
    rewritten(
        graph,
        (ExplicitWindows(),),
        """
        %y = Conv(%x, @w:float32[2,2,3,3]) {dilations=(1, 1), group=1, kernel_shape=(3, 3), pads=(1, 0, 1, 1), strides=(2, 2)} -> float32[N,2,3,3]
        %z = MaxPool(%x) {dilations=(1, 1), kernel_shape=(3, 3), pads=(0, 0, 0, 1), strides=(2, 2)} -> float32[N,2,2,3]
        %u = AveragePool(%x) {count_include_pad=0, kernel_shape=(2, 2), pads=(1, 1, 0, 0), strides=(1, 1)} -> float32[N,2,5,6]
        %v = AveragePool(%x) {ceil_mode=1, count_include_pad=1, kernel_shape=(3, 3), pads=(0, 0, 0, 0), strides=(2, 2)} -> float32[N,2,2,3]
        """,
    )


@pytest.mark.parametrize("name", ["strides", "dilations"])
@pytest.mark.parametrize("values", [(1,), (1, 1, 1)])
def test_windows_whose_attributes_are_of_several_lengths_stay(
    name: str, values: tuple[int, ...]
) -> None:
    node = Node("n", "MaxPool", ("x",), ("y",), {"kernel_shape": (2, 2), name: values})
    types = {"x": TensorType("float32", (1, 1, 8, 8))}
    graph = Graph("g", ("x",), ("y",), (node,), {}, types, {"": 17})
    assert ExplicitWindows().apply(graph) is graph
