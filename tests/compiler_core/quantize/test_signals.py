"""Tensors of three axes: signals lie channels first, tokens with their features as channels."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.signals import signals
from compiler_core.quantize.skeleton import ConvKind, ConvStep


@pytest.fixture
def signal(plain):
    """A convolution behind an operator of the CPU, an addition and a clamp."""
    draw, build = np.random.default_rng(0), plain.GraphBuilder(x=(16, 40))
    kernel = draw.standard_normal((16, 16, 3)).astype("f4")
    build.add("Erf", ["x"], "e", (16, 40))
    build.add("Relu", ["e"], "r", (16, 40))
    build.add("Conv", ["r", build.constant("k", kernel)], "c", (16, 40), pads=(1, 1))
    build.add("Add", ["c", "r"], "s", (16, 40))
    build.add("Transpose", ["s"], "t", (40, 16), perm=(0, 2, 1))
    weight = draw.standard_normal((16, 8)).astype("f4")
    build.add("MatMul", ["t", build.constant("w", weight)], "y", (40, 8))
    return build.build("y")


def test_what_is_joined_to_a_convolution_is_a_signal(signal) -> None:
    assert signals(signal) == {"x", "e", "r", "c", "s"}


def test_signals_of_the_cpu_enter_as_convolutions_take_them(signal) -> None:
    skeleton = assemble(signal, default_assignment(signal))
    assert skeleton.cpu_reasons == {}
    assert skeleton.shapes["e"] == (1, 16, 1, 40)
    assert skeleton.shapes["y"] == (1, 8, 1, 40)


def test_what_tokens_and_signals_share_is_left_as_tokens(plain) -> None:
    draw, build = np.random.default_rng(0), plain.GraphBuilder(x=(16, 40))
    weight = draw.standard_normal((40, 40)).astype("f4")
    kernel = draw.standard_normal((16, 16, 1)).astype("f4")
    build.add("MatMul", ["x", build.constant("w", weight)], "m", (16, 40))
    build.add("Conv", ["m", build.constant("k", kernel)], "y", (16, 40))
    assert signals(build.build("y")) == {"y"}


@pytest.mark.parametrize(("features", "moved"), [(512, False), (8192, True)])
def test_few_are_not_chosen_among_very_many_by_multiplications(plain, features, moved) -> None:
    half = features // 2
    draw, build = np.random.default_rng(0), plain.GraphBuilder(x=(3, 16))
    weight = draw.standard_normal((16, features)).astype("f4")
    other = draw.standard_normal((half, 4)).astype("f4")
    bounds = [
        build.constant(name, np.array([value], np.int64))
        for name, value in (("b", half), ("e", features), ("a", 2))
    ]
    build.add("MatMul", ["x", build.constant("w", weight)], "h", (3, features))
    build.add("Slice", ["h", *bounds], "part", (3, half))
    build.add("MatMul", ["part", build.constant("o", other)], "y", (3, 4))
    graph = build.build("y")
    copies = [
        step
        for step in assemble(graph, default_assignment(graph)).steps
        if isinstance(step, ConvStep) and step.kind is ConvKind.COPY
    ]
    assert bool(copies) != moved
