"""Recurrent operators whose inputs are multiplied for all steps at once: the same function."""

from __future__ import annotations

from typing import Any

import pytest

from compiler_core.graph.macs import float_macs
from compiler_core.graph.passes.projected_recurrence import ProjectedRecurrence
from compiler_core.graph.recurrence import GATES
from compiler_core.graph.shapes import infer_types
from tests.compiler_core.graph.passes.test_unrolled_recurrence import (
    BATCH,
    INPUTS,
    SIZE,
    STEPS,
    check_the_same_without_cells,
    recurrent,
)

CELLS = [
    ("LSTM", {}),
    ("GRU", {"linear_before_reset": 0}),
    ("GRU", {"linear_before_reset": 1}),
    ("RNN", {}),
]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "more"), CELLS)
@pytest.mark.parametrize(("bias", "state"), [(True, False), (False, True), (True, True)])
def test_the_same_function(
    op: str, more: dict[str, Any], direction: str, bias: bool, state: bool
) -> None:
    graph = recurrent(op, direction, bias=bias, state=state, **more)
    flat = ProjectedRecurrence().apply(graph)
    check_the_same_without_cells(graph, flat)
    inferred = infer_types(flat)
    for name, known in flat.types.items():
        assert inferred.types[name] == known, name


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(("op", "more"), CELLS)
def test_what_is_multiplied_is_counted_as_before(
    op: str, more: dict[str, Any], direction: str
) -> None:
    graph = recurrent(op, direction, **more)
    flat = ProjectedRecurrence().apply(graph)
    (node,) = graph.nodes
    assert float_macs(graph, node) == sum(float_macs(flat, one) for one in flat.nodes)
    scans = sum(float_macs(flat, one) for one in flat.nodes if one.op == "Scan")
    directions = 2 if direction == "bidirectional" else 1
    assert scans == STEPS * BATCH * GATES[op] * SIZE * SIZE * directions
    assert scans < float_macs(graph, node) or not INPUTS


def test_only_what_is_asked_for() -> None:
    graph = recurrent("LSTM")
    assert ProjectedRecurrence(frozenset()).apply(graph) is graph


@pytest.mark.parametrize(
    "more",
    [
        {"clip": 1.0},
        {"layout": 1},
        {"input_forget": 1},
        {"activations": ["Relu", "Tanh", "Tanh"]},
    ],
)
def test_what_is_unusual_stays(more: dict[str, Any]) -> None:
    graph = recurrent("LSTM", **more)
    assert ProjectedRecurrence().apply(graph) is graph
