"""The handler of support vector machines that make probabilities of decisions of pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.spelled.machine_pairs import MOST_CLASSES, is_of_pairs
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import FLOAT, Array, Value
from compiler_core.units.cpu.c.operators.coupling import Coupling
from compiler_core.units.cpu.c.operators.real import RealMap, RealPair

_LEAST = 1e-7
"""Of the probability that of two classes it is one."""


def probabilities(sources: TensorReader, node: Node) -> None:
    """SVMClassifier that reads decisions, see :mod:`~…graph.spelled.machine_pairs`."""
    classes = len(node.attributes.get("vectors_per_class", ()))
    if classes > MOST_CLASSES:
        raise Refusal(f"it has {classes} classes; probabilities of {MOST_CLASSES} are written")
    if not is_of_pairs(node):
        raise Refusal("its probabilities are not of what it says of pairs of classes")
    if sources.builder.graph.consumers(node.outputs[0]):
        raise Refusal("its label is read")
    builder = sources.builder
    x = sources.real(node.inputs[0], (0, 1)).value
    pairs = len(list(combinations(range(classes), 2)))
    for what, function in (("prob_a", "mul"), ("prob_b", "add")):
        row = np.asarray(node.attributes[what], np.float32).reshape(1, pairs)
        x = _with(sources, node, x, row, function)
    for function, a, b in (
        ("sigmoid", 0.0, 0.0),
        ("affine", -1.0, 1.0),
        ("clamp", _LEAST, 1 - _LEAST),
    ):
        found = builder.value(node.name, x.shape, FLOAT)
        builder.add(RealMap(node.name, (x.name,), found.name, function, a, b))
        x = found
    result = builder.value(node.outputs[1], (x.shape[0], classes), FLOAT)
    builder.add(Coupling(node.name, (x.name,), result.name, classes))
    builder.places.setdefault(node.outputs[1], []).append(PlacedValue(result, (0, 1)))


def _with(sources: TensorReader, node: Node, x: Value, row: Array, function: str) -> Value:
    builder = sources.builder
    held = builder.held(node.name, row, FLOAT)
    found = builder.value(node.name, x.shape, FLOAT)
    ends = (-np.inf, np.inf)
    builder.add(RealPair(node.name, (x.name, held.name), found.name, function, *ends))
    return found
