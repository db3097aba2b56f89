"""Recurrent cells of many steps, with the products of all inputs taken out of them.

What an LSTM, GRU or RNN multiplies its inputs by is the same for every step: one dense layer over
all steps, which units run as any other. Only what multiplies the state is left to recur, as a Scan.
Equations as in the definitions of ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.graph.dtypes import dtype_number
from compiler_core.graph.ir import Graph, Node, as_text
from compiler_core.graph.passes.recurrent_steps import step_of
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.recurrence import (
    ACTIVATIONS,
    optional_input,
    recurrent_contradiction,
)

_LEAST_OPSET = 13
"""Split and Unsqueeze have their sizes and axes as inputs from then on."""
_WAYS = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}
"""Per direction, whether it begins at the last step."""
_BIAS, _LENGTHS, _STATE, _CELL, _PEEPHOLES = 3, 4, 5, 6, 7


@dataclass(frozen=True)
class ProjectedRecurrence:
    """Take the products of inputs out of recurrent operators.

    Args:
        only: Names of the nodes; all that can be, where it is ``None``.
    """

    only: frozenset[str] | None = None
    name: ClassVar[str] = "projected-recurrence"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if (self.only is None or node.name in self.only) and is_projectable(rewriter, node):
                _Projection(rewriter, node).write()
        return rewriter.finish()


def is_projectable(known: Rewriter, node: Node) -> bool:
    """Whether a node recurs over more than one step, with constant weights and nothing unusual."""
    if not is_op(node, *ACTIVATIONS) or known.graph.opsets.get("", 0) < _LEAST_OPSET:
        return False
    source, given = known.shape(node.inputs[0]), node.attributes
    if source is None or len(source) != 3 or source[0] < 2 or given.get("layout", 0):
        return False
    if not all(known.batch_free(name) for name in (node.inputs[0], *node.outputs) if name):
        return False
    if (
        optional_input(node, _LENGTHS)
        or optional_input(node, _PEEPHOLES)
        or known.dtype(node.inputs[0]) != "float32"
    ):
        return False
    if recurrent_contradiction(node, known.shape) is not None:
        return False
    if given.get("clip") or given.get("input_forget"):
        return False
    ways = _WAYS.get(node.text("direction", "forward"), ())
    usual = ACTIVATIONS[node.op] * len(ways)
    asked = tuple(as_text(name).lower() for name in given.get("activations") or usual)
    fixed = [name for name in node.inputs[1 : _BIAS + 1] if name]
    states = [optional_input(node, place) for place in (_STATE, _CELL)]
    return (
        bool(ways)
        and asked == usual
        and all(name in known.constants for name in fixed)
        and all(not name or known.shape(name) is not None for name in states)
    )


class _Projection:
    """Writes what stands in the place of one node.

    Two directions recur side by side, in one Scan whose states are as the node has them; a single
    one has states of two axes, without that of the directions.

    Args:
        known: The graph.
        node: That can be.
    """

    def __init__(self, known: Rewriter, node: Node) -> None:
        self._known, self._node = known, node
        self._nodes: list[Node] = []
        self._ways = _WAYS[node.text("direction", "forward")]
        self._steps, self._rows, _ = known.shape(node.inputs[0]) or (0, 0, 0)
        self._size = int(known.constants[node.inputs[2]].shape[2])
        self._late = node.op == "GRU" and bool(node.attributes.get("linear_before_reset", 0))
        both = len(self._ways) > 1
        row = (self._rows, self._size)
        self._state: tuple[int, ...] = (2, *row) if both else row
        self._part: tuple[int, ...] = (1, *row) if both else row

    def write(self) -> None:
        """Puts it there."""
        node, known, step = self._node, self._known, step_of(self._node.op, late=self._late)
        gates = [self._gates(direction) for direction in range(len(self._ways))]
        firsts = [self._first(place) for place in (_STATE, _CELL)[: len(step.states)]]
        like = node.inputs[0]
        lasts = [known.add_tensor(f"{node.name}/state", self._state, like) for _ in firsts]
        shape = (self._steps, *self._part)
        wholes = [known.add_tensor(f"{node.name}/states", shape, like) for _ in gates]
        attributes: dict[str, Any] = {"num_scan_inputs": len(gates)}
        if any(self._ways):
            attributes |= dict.fromkeys(
                ("scan_input_directions", "scan_output_directions"), self._ways
            )
        width = known.constants[node.inputs[1]].shape[1]
        body = step.body(self._weights(), self._state, width, dtype_number("float32"))
        self._nodes.append(
            Node(
                known.fresh_node(node.name),
                "Scan",
                (*firsts, *gates),
                (*lasts, *wholes),
                attributes,
                opaque=(
                    onnx.helper.make_attribute("body", body).SerializeToString(deterministic=True),
                ),
            )
        )
        directions = len(self._ways)
        row = (directions, self._rows, self._size)
        if node.outputs[0]:
            if directions > 1:
                whole = (self._steps, *row)
                self._add("Concat", tuple(wholes), whole, "", output=node.outputs[0], axis=1)
            else:
                self._view(wholes[0], (self._steps, *row), node.outputs[0])
        for output, last in zip(node.outputs[1:], lasts, strict=False):
            if output:
                self._view(last, row, output)
        known.replace(node, *self._nodes)

    def _gates(self, direction: int) -> str:
        """What the inputs of all steps give the gates of a direction."""
        node = self._node
        weight = self._known.constants[node.inputs[1]][direction]
        own, others, kept = self._biases(direction)
        shape = (self._steps, self._rows, len(weight))
        inputs = (node.inputs[0], self._constant("weight", weight.T))
        product = self._add("MatMul", inputs, shape, "product")
        bias = self._constant("bias", (own + others - kept).astype(np.float32))
        gates = self._add("Add", (product, bias), shape, "gates")
        if len(self._ways) == 1:
            return gates
        return self._view(gates, (self._steps, 1, *shape[1:]))

    def _biases(self, direction: int) -> tuple[npt.NDArray[Any], ...]:
        """Of the inputs' and of the states' products, and what of the latter stays with them."""
        width = self._known.constants[self._node.inputs[1]].shape[1]
        own = others = np.zeros(width, np.float32)
        if optional_input(self._node, _BIAS):
            own, others = np.split(self._known.constants[self._node.inputs[_BIAS]][direction], 2)
        kept = np.where((np.arange(width) >= 2 * self._size) & self._late, others, 0)
        return own, others, kept

    def _weights(self) -> dict[str, str]:
        """Constants that the body reads, as :meth:`CellStep.body` calls them."""
        recurrent = self._known.constants[self._node.inputs[2]].transpose(0, 2, 1)
        weights = {"recurrent": recurrent}
        if self._late:
            kept = [self._biases(direction)[2] for direction in range(len(self._ways))]
            weights["late"] = np.stack(kept)[:, None].astype(np.float32)
        elif self._node.op == "GRU":
            parts = np.split(recurrent, [2 * self._size], axis=2)
            weights = dict(zip(("doors", "fresh"), parts, strict=True))
        if len(self._ways) == 1:
            weights = {what: array[0] for what, array in weights.items()}
        return {what: self._constant(what, array) for what, array in weights.items()}

    def _first(self, place: int) -> str:
        """What the states are before the first step."""
        name = optional_input(self._node, place)
        if not name:
            return self._constant("state", np.zeros(self._state, np.float32))
        return name if len(self._ways) > 1 else self._view(name, self._state)

    def _view(self, tensor: str, shape: tuple[int, ...], output: str = "") -> str:
        """The same values under another shape."""
        sizes = self._constant("shape", np.array(shape, np.int64))
        return self._add("Reshape", (tensor, sizes), shape, "view", output=output)

    def _constant(self, what: str, array: npt.NDArray[Any]) -> str:
        return self._known.add_constant(f"{self._node.name}/{what}", array)

    def _add(
        self,
        op: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        what: str,
        *,
        output: str = "",
        **attributes: Any,
    ) -> str:
        known, node = self._known, self._node
        target = output or known.add_tensor(f"{node.name}/{what}", shape, node.inputs[0])
        taken = {made.name for made in self._nodes}
        name = wanted = known.fresh_node(f"{node.name}/{what or op.lower()}")
        count = 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        self._nodes.append(Node(name, op, inputs, (target,), attributes))
        return target
