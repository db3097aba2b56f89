"""Operators spelled out: the same numbers as onnxruntime gives for the whole one."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.graph.passes.spelled_out import spelled_out
from compiler_core.graph.session import FloatSession
from tests.compiler_core.units.cpu.c.cases import Model, samples


@pytest.mark.parametrize("shape", [(1, 6), (2, 3, 5), (1, 6, 4, 3)])
def test_slopes_per_channel(shape: tuple[int, ...]) -> None:
    m = Model(shape)
    slope = m.weight(shape[1], *(1 for _ in shape[2:]))
    check(m, m.node("PRelu", "x0", slope), "PRelu")


@pytest.mark.parametrize(("shape", "axis"), [((3, 7), -1), ((2, 4, 5), 1), ((2, 3, 4, 5), 0)])
def test_logarithms_of_softmax(shape: tuple[int, ...], axis: int) -> None:
    m = Model(shape)
    check(m, m.node("LogSoftmax", "x0", axis=axis), "LogSoftmax")


@pytest.mark.parametrize("shape", [(1, 3, 8), (2, 4, 5, 3)])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_instances(shape: tuple[int, ...], epsilon: float) -> None:
    m = Model(shape)
    weights = m.weight(shape[1]), m.weight(shape[1])
    node = m.node("InstanceNormalization", "x0", *weights, epsilon=epsilon)
    check(m, m.node("Relu", node), "InstanceNormalization")


def test_one_slope_stays() -> None:
    m = Model((1, 4))
    graph = m.graph(m.node("PRelu", "x0", m.array([0.25])))
    assert spelled_out(graph) is graph


def check(m: Model, output: str, op: str) -> None:
    graph = m.graph(output)
    assert op in [node.op for node in graph.nodes]
    found = spelled_out(graph)
    assert op not in [node.op for node in found.nodes]
    assert found.outputs == graph.outputs
    sample = samples(graph, 1)[0]
    whole, parts = FloatSession(graph).run(sample), FloatSession(found).run(sample)
    for name in graph.outputs:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-5)
