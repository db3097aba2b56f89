"""Paddings that each layer computes of the shape before it, as exports with open axes have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.followed_shapes import FollowedShapes
from compiler_core.graph.passes.simplify import simplify

Build = Callable[..., Graph]
Check = Callable[..., None]

_AMOUNTS = {
    "floor": "f{i} = Div(h{i}, six) q{i} = Floor(f{i})",
    "ceil": "f{i} = Div(h{i}, twelve) q{i} = Ceil(f{i})",
    "mod": "q{i} = Mod<fmod=1>(h{i}, two)",
}
_LAYER = """
    s{i} = Shape({x})
    g{i} = Gather(s{i}, axis)
    h{i} = Cast<to=1>(g{i})
    """
_PADDED = """
    c{i} = Cast<to=7>(q{i})
    u{i} = Unsqueeze(c{i}, zero)
    p{i} = Concat<axis=0>(zero, zero, u{i}, zero, zero, zero, zero, u{i})
    r{i} = Pad({x}, p{i})
    {y} = Conv<strides=[{stride}, {stride}]>(r{i}, w)
    """


def _layers(graph_of: Build, size: int, layers: list[tuple[str, int]]) -> Graph:
    text, x = "", "x"
    for i, (amount, stride) in enumerate(layers):
        parts = _LAYER + _AMOUNTS[amount] + _PADDED
        text += parts.format(i=i, x=x, y=f"y{i}", stride=stride)
        x = f"y{i}"
    weights = np.random.default_rng(0).standard_normal((2, 2, 2, 2)).astype(np.float32)
    return graph_of(
        f"(float[1,2,{size},{size}] x) => (float y) {{ {text} y = GlobalAveragePool({x}) }}",
        w=weights,
        axis=np.array(2),
        zero=np.array([0]),
        two=np.float32(2),
        six=np.float32(6),
        twelve=np.float32(12),
    )


def test_shapes_are_followed_as_deep_as_they_go(graph_of: Build) -> None:
    simple = simplify(_layers(graph_of, 6, [("floor", 1)] * 70))
    assert {node.op for node in simple.nodes} == {"Conv", "GlobalAveragePool"}
    assert all(
        size is not None
        for node in simple.nodes
        for size in simple.types[node.output].shape or (None,)
    )


@settings(max_examples=20)
@given(
    size=st.integers(10, 16),
    layers=st.lists(st.tuples(st.sampled_from(sorted(_AMOUNTS)), st.just(1)), max_size=5),
    last=st.sampled_from([1, 2]),
)
def test_what_is_followed_is_what_a_runtime_computes(
    graph_of: Build, same_function: Check, size: int, layers: list[tuple[str, int]], last: int
) -> None:
    layers = [*layers, ("ceil", last)]
    graph = _layers(graph_of, size, layers)
    followed = FollowedShapes().apply(graph)
    assert not {"Shape", "Gather", "Floor", "Ceil", "Mod"} & {node.op for node in followed.nodes}
    same_function(graph, followed)


def test_scales_of_a_quantized_model_stay(graph_of: Build) -> None:
    graph = graph_of(
        """(float[1,2,4,4] x) => (float y) {
            s = Shape(x) g = Gather(s, axis) h = Cast<to=1>(g) f = Div(h, six) q = Floor(f)
            c = Cast<to=7>(q)
            u = Unsqueeze(c, zero)
            p = Concat<axis=0>(zero, zero, u, u, zero, zero, u, u)
            r = Pad(x, p)
            v = DequantizeLinear(w, scale)
            y = Conv(r, v)
        }""",
        w=np.ones((2, 2, 1, 1), np.int8), scale=np.float32(0.5), axis=np.array(2),
        zero=np.array([0]), six=np.float32(3),
    )  # fmt: skip
    followed = FollowedShapes().apply(graph)
    assert [node.op for node in followed.nodes] == ["Pad", "DequantizeLinear", "Conv"]


def test_a_graph_of_known_types_stays_itself(graph_of: Build) -> None:
    graph = graph_of("(float[1,2] x) => (float y) { y = Relu(x) }")
    assert FollowedShapes().apply(graph) is graph


@pytest.mark.parametrize("shape", ["1,2", "N,2"])
def test_shapes_that_nobody_knows_stay(graph_of: Build, shape: str) -> None:
    graph = graph_of(f"(float[{shape}] x) => (float y) {{ a = NonZero(x) b = Shape(a) "
                     "c = Cast<to=1>(b) y = Sqrt(c) }")  # fmt: skip
    followed = FollowedShapes().apply(graph)
    assert [node.op for node in followed.nodes] == ["NonZero", "Shape", "Cast", "Sqrt"]
