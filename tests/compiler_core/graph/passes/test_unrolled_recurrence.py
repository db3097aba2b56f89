"""Recurrent operators step by step: the same function, one copy of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    shapes = [(BATCH, STEPS, INPUTS) if more.get("layout") else (STEPS, BATCH, INPUTS)]
    shapes += [(directions, BATCH, SIZE)] * ((2 if op == "LSTM" else 1) if state else 0)
    m = Model(*shapes)
    words = ["x0", m.weight(directions, gates * SIZE, INPUTS)]
    words.append(m.weight(directions, gates * SIZE, SIZE))
    words.append(m.weight(directions, 2 * gates * SIZE) if bias else "")
    words += ["", *m.inputs[1:]] if state else []
    outputs = 3 if op == "LSTM" else 2
    found = m.node(op, *words, outputs=outputs, hidden_size=SIZE, direction=direction, **more)
    return m.graph(*found)


def check_the_same_without_cells(graph: Graph, flat: Graph) -> None:
    assert not any(node.op in GATES for node in flat.nodes)
    assert flat.outputs == graph.outputs
    for sample in samples(graph, 2):
        wanted, found = FloatSession(graph).run(sample), FloatSession(flat).run(sample)
        for name in graph.outputs:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


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
    check_the_same_without_cells(graph, flat)


FUNCTIONS = ("Relu", "Tanh", "Sigmoid", "HardSigmoid", "LeakyRelu", "Elu", "Softsign", "Softplus")
USUAL = {"LSTM": 3, "GRU": 2, "RNN": 1}


@st.composite
def rare(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], Any]:
    """Operator, direction, attributes, and lengths of sequences: none, constant or computed."""
    op = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["clip"] = 0.4
    if op == "LSTM":
        more |= draw(st.sampled_from([{}, {"input_forget": 1}]))
        more["peep"] = draw(st.booleans())
    more["state"] = draw(st.booleans())
    if op == "GRU":
        more["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        count = USUAL[op] * (2 if direction == "bidirectional" else 1)
        more["activations"] = [draw(st.sampled_from(FUNCTIONS)) for _ in range(count)]
    lengths = draw(st.sampled_from([None, "computed", (5, 5), (2, 5), (4, 1), (0, 3)]))
    return op, direction, more, lengths


@settings(max_examples=30)
@given(rare())
def test_rare_forms(form: tuple[str, str, dict[str, Any], Any]) -> None:
    op, direction, more, lengths = form
    graph = rare_graph(op, direction, lengths, **more)
    flat = unrolled(graph)
    assert not any(node.op in GATES for node in flat.nodes)
    for sample in samples(graph, 2):
        wanted, found = FloatSession(graph).run(sample), FloatSession(flat).run(sample)
        for name in graph.outputs:  # gates without bounds may open ever wider
            near = np.abs(wanted[name]) < 1e4
            np.testing.assert_allclose(found[name][near], wanted[name][near], rtol=1e-4, atol=1e-5)


def rare_graph(
    op: str,
    direction: str,
    lengths: Any = None,
    *,
    peep: bool = False,
    state: bool = False,
    **more: Any,
) -> Graph:
    gates, directions = GATES[op], 2 if direction == "bidirectional" else 1
    m = Model((STEPS, BATCH, INPUTS), (BATCH,))
    size = m.node("Clip", m.node("Mul", m.node("Abs", "x1"), m.array(4.0)), "", m.array(5.0))
    words = ["x0", m.weight(directions, gates * SIZE, INPUTS, scale=0.8)]
    words += [m.weight(directions, gates * SIZE, SIZE), m.weight(directions, 2 * gates * SIZE)]
    if lengths == "computed":
        words.append(m.node("Cast", size, to=6))
    else:
        words.append("" if lengths is None else m.array(lengths, "int32"))
    words.append(m.weight(directions, BATCH, SIZE) if state else "")
    if op == "LSTM":
        words.append(m.weight(directions, BATCH, SIZE) if state else "")
        words.append(m.weight(directions, 3 * SIZE) if peep else "")
    outputs = 3 if op == "LSTM" else 2
    found = m.node(op, *words, outputs=outputs, hidden_size=SIZE, direction=direction, **more)
    return m.graph(*found, m.node("Neg", size))


@pytest.mark.parametrize("op", sorted(GATES))
@pytest.mark.parametrize("lengths", [(0, 3), "computed"])
def test_samples_without_steps_leave_zeros(op: str, lengths: Any) -> None:
    graph = rare_graph(op, "bidirectional", lengths, state=True)
    sample = {**samples(graph, 1)[0], "x1": np.array([0.1, 0.7], np.float32)}
    wanted, found = FloatSession(graph).run(sample), FloatSession(unrolled(graph)).run(sample)
    for name in graph.outputs:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5)
    assert not wanted[graph.outputs[1]][:, 0].any()


@pytest.mark.parametrize("op", sorted(GATES))
def test_samples_first(op: str) -> None:
    """As PyTorch's ``batch_first``, which the runtime does not take."""
    usual, other = recurrent(op, "bidirectional"), recurrent(op, "bidirectional", layout=1)
    flat = unrolled(other)
    assert not any(node.op in GATES for node in flat.nodes)
    for sample in samples(usual, 2):
        wanted = list(FloatSession(usual).run(sample).values())
        found = list(FloatSession(flat).run({"x0": sample["x0"].transpose(1, 0, 2)}).values())
        orders = [(2, 0, 1, 3), *[(1, 0, 2)] * (len(wanted) - 1)]
        for own, theirs, order in zip(found, wanted, orders, strict=True):
            np.testing.assert_allclose(own, theirs.transpose(order), rtol=1e-5, atol=1e-6)


def test_others_stay_as_they_are() -> None:
    m = Model((1, 3, 4, 4))
    graph = m.graph(m.node("Conv", "x0", m.weight(2, 3, 3, 3)))
    assert unrolled(graph) is graph
