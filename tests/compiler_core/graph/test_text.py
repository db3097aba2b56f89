from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.text import graph_digest, graph_text

Build = Callable[..., Graph]


@pytest.fixture
def graph(graph_of: Build) -> Graph:
    weight = np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
    text = """(float[N,2,4,4] x) => (float y, float u) {
        a, i = MaxPool<kernel_shape=[2,2], auto_pad="VALID">(x)
        b = Conv(a, w)
        d = Resize<mode="nearest">(b, , s)
        y = Clip(d, low)
        u = Elu<alpha=0.1>(d)
    }"""
    return graph_of(text, w=weight, low=np.float32(0.1), s=np.float32([1, 1, 2, 2]))


def test_text(graph: Graph) -> None:
    pool, *rest = graph.nodes
    graph = replace(graph, nodes=(replace(pool, outputs=("a",), clip=(-1.0, 6.0)), *rest))
    assert graph_text(graph) == (
        "graph g (ai.onnx 17)\n"
        "  input  %x: float32[N,2,4,4]\n"
        "  %a = MaxPool(%x) {auto_pad='VALID', kernel_shape=(2, 2)} clip[-1.0, 6.0]"
        " -> float32[N,2,3,3]\n"
        "  %b = Conv(%a, @w:float32[1,2,3,3]#1e861f94) -> float32[N,1,1,1]\n"
        "  %d = Resize(%b, _, (1.0, 1.0, 2.0, 2.0):float32[4]) {mode='nearest'}"
        " -> float32[N,1,2,2]\n"
        "  %y = Clip(%d, 0.1:float32[]) -> float32[N,1,2,2]\n"
        "  %u = Elu(%d) {alpha=0.1} -> float32[N,1,2,2]\n"
        "  output %y\n"
        "  output %u\n"
    )


def test_digest_sees_content_only(graph: Graph) -> None:
    digest = graph_digest(graph)
    assert len(digest) == 64
    assert graph_digest(replace(graph, name="other")) == digest
    reordered = dict(reversed(list(graph.constants.items())))
    assert graph_digest(replace(graph, constants=reordered)) == digest


def test_digest_sees_every_change(graph: Graph) -> None:
    weight = graph.constants["w"].copy()
    weight[0, 0, 0, 0] = np.nextafter(weight[0, 0, 0, 0], np.float32(1))
    node = graph.nodes[0]
    changed = [
        replace(graph, constants={**graph.constants, "w": weight}),
        replace(graph, constants={**graph.constants, "w": weight.reshape(1, 2, 9, 1)}),
        replace(graph, outputs=("u", "y")),
        replace(graph, opsets={"": 18}),
        replace(graph, dynamic_batch=frozenset()),
        replace(graph, nodes=(replace(node, clip=(0.0, 6.0)), *graph.nodes[1:])),
        replace(graph, nodes=(replace(node, attributes={}), *graph.nodes[1:])),
        replace(graph, nodes=(replace(node, name="renamed"), *graph.nodes[1:])),
    ]
    digests = {graph_digest(item) for item in (graph, *changed)}
    assert len(digests) == len(changed) + 1


def test_the_digest_of_a_graph_is_taken_once(
    graph_of: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of("(float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }")
    first = graph_digest(graph)
    monkeypatch.setattr("compiler_core.graph.text._digest", lambda _: "taken again")
    assert graph_digest(graph) == first
    assert graph_digest(replace(graph, name="other")) == "taken again"
