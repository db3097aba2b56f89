from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.casts_by_example import CastsByExample
from compiler_core.graph.passes.constant_folding import ConstantFolding

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_a_cast_to_the_type_of_a_tensor_names_the_type(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(int32[N,4] x, float[N,4] e) => (float y) {
            a = CastLike(x, e)
            y = Relu(a)
        }""",
    )
    rewritten(
        graph,
        (CastsByExample(),),
        """
        %a = Cast(%x) {to=1} -> float32[N,4]
        %y = Relu(%a) -> float32[N,4]
        """,
    )


def test_a_constant_of_the_type_of_a_tensor_is_a_constant(graph_of: Build) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y) {
            a = CastLike(one, x)
            y = Add(x, a)
        }""",
        one=np.float64(1.5),
    )
    found = ConstantFolding().apply(CastsByExample().apply(graph))
    assert [node.op for node in found.nodes] == ["Add"]
