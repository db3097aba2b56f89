"""Recurrent operators step by step: the same function, one copy of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.recurrence import GATES
from compiler_core.graph.session import FloatSession
from tests.compiler_core.units.cpu.c.cases import Model, samples

STEPS, BATCH, INPUTS, SIZE = 5, 2, 3, 4


def recurrent(
    op: str, direction: str = "forward", *, bias: bool = True, state: bool = False, **more: Any
) -> Graph:
    gates, directions = GATES[op], 2 if direction == "bidirectional" else 1
    shapes = [(STEPS, BATCH, INPUTS)]
    shapes += [(directions, BATCH, SIZE)] * ((2 if op == "LSTM" else 1) if state else 0)
    m = Model(*shapes)
    words = ["x0", m.weight(directions, gates * SIZE, INPUTS)]
    words.append(m.weight(directions, gates * SIZE, SIZE))
    words.append(m.weight(directions, 2 * gates * SIZE) if bias else "")
    words += ["", *m.inputs[1:]] if state else []
    outputs = 3 if op == "LSTM" else 2
    found = m.node(op, *words, outputs=outputs, hidden_size=SIZE, direction=direction, **more)
    return m.graph(*found)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("op", "more"),
    [
        ("LSTM", {}),
        ("GRU", {"linear_before_reset": 0}),
        ("GRU", {"linear_before_reset": 1}),
        ("RNN", {}),
        ("RNN", {"activations": "Relu"}),
    ],
)
@pytest.mark.parametrize(("bias", "state"), [(True, False), (False, True), (True, True)])
def test_the_same_function(
    op: str, more: dict[str, Any], direction: str, bias: bool, state: bool
) -> None:
    if "activations" in more:
        more = {"activations": [more["activations"]] * (2 if direction == "bidirectional" else 1)}
    graph = recurrent(op, direction, bias=bias, state=state, **more)
    flat = unrolled(graph)
    assert not any(node.op in GATES for node in flat.nodes)
    assert flat.outputs == graph.outputs
    for sample in samples(graph, 2):
        wanted, found = FloatSession(graph).run(sample), FloatSession(flat).run(sample)
        for name in graph.outputs:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_others_stay_as_they_are() -> None:
    m = Model((1, 3, 4, 4))
    graph = m.graph(m.node("Conv", "x0", m.weight(2, 3, 3, 3)))
    assert unrolled(graph) is graph
