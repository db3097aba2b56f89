"""Sequences whose elements are known by name need no sequence.

Exporters put tensors into a sequence to join them, and take parts of a split out of one. Behind a
sequence no shape is known, so that everything that follows would stay on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_TAKES_BOUNDS = 10
"""Slice has its bounds as inputs from then on."""


@dataclass(frozen=True)
class Sequences:
    """Take elements from where they come from, and join what a sequence is made of."""

    name: ClassVar[str] = "sequences"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "SequenceAt", "ConcatFromSequence", "SequenceLength"):
                continue
            made = rewriter.producer(node.inputs[0])
            elements = _elements(rewriter, node.inputs[0])
            if node.op == "SequenceAt":
                _take(rewriter, node, made, elements)
            elif node.op == "ConcatFromSequence" and elements:
                _join(rewriter, node, elements)
            elif node.op == "SequenceLength" and elements is not None:
                count = np.array(len(elements), np.int64)
                rewriter.bypass(node, rewriter.add_constant(node.output, count))
        return rewriter.finish()


def _elements(rewriter: Rewriter, sequence: str) -> tuple[str, ...] | None:
    """The tensors that a sequence holds; ``None`` where they are not known by name."""
    steps = []
    node = rewriter.producer(sequence)
    while is_op(node, "SequenceInsert", "SequenceErase") and node is not None:
        steps.append(node)
        node = rewriter.producer(node.inputs[0])
    if node is None or not is_op(node, "SequenceConstruct", "SequenceEmpty"):
        return None
    found = [*node.inputs]
    for step in reversed(steps):
        inserts = step.op == "SequenceInsert"
        place = rewriter.constant(step, 2 if inserts else 1)
        if place is None and len(step.inputs) > 1 + inserts and step.inputs[1 + inserts]:
            return None
        default = len(found) if inserts else -1
        number = default if place is None else int(place.reshape(-1)[0])
        if not -len(found) <= number < len(found) + inserts:
            return None
        if inserts:
            found.insert(number, step.inputs[1])
        else:
            del found[number]
    return tuple(found)


def _take(
    rewriter: Rewriter, node: Node, made: Node | None, elements: tuple[str, ...] | None
) -> None:
    place = rewriter.constant(node, 1)
    if place is None:
        return
    number = int(place.reshape(-1)[0])
    if elements is not None and -len(elements) <= number < len(elements):
        rewriter.bypass(node, elements[number])
    elif made is not None and is_op(made, "SplitToSequence"):
        _slice(rewriter, node, made, number)


def _slice(rewriter: Rewriter, node: Node, made: Node, number: int) -> None:
    """One part of a split, whose bounds are known."""
    shape, axis = rewriter.shape(made.inputs[0]), int(made.attributes.get("axis", 0))
    if shape is None or rewriter.graph.opsets.get("", 0) < _TAKES_BOUNDS:
        return
    axis %= len(shape)
    if axis == 0 and not rewriter.batch_free(made.inputs[0]):
        return
    whole = len(made.inputs) > 1 and bool(made.inputs[1])
    given = rewriter.constant(made, 1)
    if whole and given is None:
        return
    if given is None or not given.ndim:
        size = 1 if given is None else int(given)
        ends = [*range(size, shape[axis], size), shape[axis]] if size > 0 else []
    else:
        ends = np.cumsum(given.reshape(-1)).tolist()
    if not -len(ends) <= number < len(ends):
        return
    number %= len(ends)
    first, last = ends[number - 1] if number else 0, ends[number]
    if not whole and not made.attributes.get("keepdims", 1):
        index = rewriter.add_constant(f"{node.name}/index", np.array(first, np.int64))
        part = replace(node, op="Gather", inputs=(made.inputs[0], index), attributes={"axis": axis})
    else:
        bounds = [
            rewriter.add_constant(f"{node.name}/{name}", np.array([value], np.int64))
            for name, value in (("first", first), ("last", last), ("axis", axis))
        ]
        part = replace(node, op="Slice", inputs=(made.inputs[0], *bounds), attributes={})
    rewriter.replace(node, part)


def _join(rewriter: Rewriter, node: Node, elements: tuple[str, ...]) -> None:
    if node.attributes.get("new_axis", 0) or "axis" not in node.attributes:
        return
    attributes = {"axis": node.attributes["axis"]}
    rewriter.replace(node, replace(node, op="Concat", inputs=elements, attributes=attributes))
