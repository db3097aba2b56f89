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
from compiler_core.graph.recurrence import recurrent_contradiction

_LEAST_OPSET = 13
"""Split and Unsqueeze have their sizes and axes as inputs from then on."""
_ACTIVATIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
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
    if not is_op(node, *_ACTIVATIONS) or known.graph.opsets.get("", 0) < _LEAST_OPSET:
        return False
    source, given = known.shape(node.inputs[0]), node.attributes
    if source is None or len(source) != 3 or source[0] < 2 or given.get("layout", 0):
        return False
    if not all(known.batch_free(name) for name in (node.inputs[0], *node.outputs) if name):
        return False
    if (
        _input(node, _LENGTHS)
        or _input(node, _PEEPHOLES)
        or known.dtype(node.inputs[0]) != "float32"
    ):
        return False
    if recurrent_contradiction(node, known.shape) is not None:
        return False
    if given.get("clip") or given.get("input_forget"):
        return False
    ways = _WAYS.get(node.text("direction", "forward"), ())
    usual = _ACTIVATIONS[node.op] * len(ways)
    asked = tuple(as_text(name).lower() for name in given.get("activations") or usual)
    fixed = [name for name in node.inputs[1 : _BIAS + 1] if name]
    states = [_input(node, place) for place in (_STATE, _CELL)]
    return (
        bool(ways)
        and asked == usual
        and all(name in known.constants for name in fixed)
        and all(not name or known.shape(name) is not None for name in states)
    )


def _input(node: Node, place: int) -> str:
    """An input that may be left out."""
    return node.inputs[place] if len(node.inputs) > place else ""


class _Projection:
    """Writes what stands in the place of one node.

    Args:
        known: The graph.
        node: That can be.
    """

    def __init__(self, known: Rewriter, node: Node) -> None:
        self._known, self._node = known, node
        self._nodes: list[Node] = []
        self._steps, self._rows, _ = known.shape(node.inputs[0]) or (0, 0, 0)
        self._size = int(known.constants[node.inputs[2]].shape[2])

    def write(self) -> None:
        """Puts it there."""
        node, ways = self._node, _WAYS[self._node.text("direction", "forward")]
        found = [self._direction(number, bool(way)) for number, way in enumerate(ways)]
        row = (self._rows, self._size)
        wanted = ((1, (self._steps, 1, *row)), (0, (1, *row)), (0, (1, *row)))
        for output, (axis, shape), parts in zip(
            node.outputs, wanted, zip(*found, strict=True), strict=False
        ):
            if output:
                self._join(parts, output, axis, shape)
        self._known.replace(node, *self._nodes)

    def _direction(self, number: int, backward: bool) -> tuple[str, str, str]:
        """Results of all steps, the last state and the last cell (empty without one)."""
        node, known = self._node, self._known
        weight, recurrent = (known.constants[name][number] for name in node.inputs[1:3])
        own = others = np.zeros(len(weight), np.float32)
        if _input(node, _BIAS):
            own, others = np.split(known.constants[node.inputs[_BIAS]][number], 2)
        late = node.op == "GRU" and bool(node.attributes.get("linear_before_reset", 0))
        kept = np.where((np.arange(len(weight)) >= 2 * self._size) & late, others, 0)
        wide = (self._steps, self._rows, len(weight))
        product = self._add(
            "MatMul", (node.inputs[0], self._constant("weight", weight.T)), wide, "product"
        )
        bias = self._constant("bias", (own + others - kept).astype(np.float32))
        gates = self._add("Add", (product, bias), wide, "gates")
        step = step_of(node.op, late=late)
        weights = {"recurrent": recurrent.T}
        if late:
            weights["late"] = kept.astype(np.float32)
        elif node.op == "GRU":
            parts = np.split(recurrent.T, [2 * self._size], axis=1)
            weights = dict(zip(("doors", "fresh"), parts, strict=True))
        inner = {what: self._constant(what, array) for what, array in weights.items()}
        firsts = [self._first(place, number) for place in (_STATE, _CELL)[: len(step.states)]]
        row = (self._rows, self._size)
        names = [known.add_tensor(f"{node.name}/state", row, node.inputs[0]) for _ in firsts]
        whole = known.add_tensor(f"{node.name}/states", (self._steps, *row), node.inputs[0])
        attributes: dict[str, Any] = {"num_scan_inputs": 1}
        if backward:
            attributes |= {"scan_input_directions": (1,), "scan_output_directions": (1,)}
        body = step.body(inner, row, wide[2], dtype_number("float32"))
        self._nodes.append(
            Node(
                known.fresh_node(node.name if not number else f"{node.name}/reverse"),
                "Scan",
                (*firsts, gates),
                (*names, whole),
                attributes,
                opaque=(
                    onnx.helper.make_attribute("body", body).SerializeToString(deterministic=True),
                ),
            )
        )
        return whole, names[0], names[-1] if len(names) > 1 else ""

    def _first(self, place: int, number: int) -> str:
        """What a state is before the first step."""
        name, row = _input(self._node, place), (self._rows, self._size)
        value = self._known.constants.get(name)
        if not name or value is not None:
            return self._constant(
                "state", np.zeros(row, np.float32) if value is None else value[number]
            )
        which = self._constant("direction", np.array(number, np.int64))
        return self._add("Gather", (name, which), row, "state", axis=0)

    def _join(self, parts: tuple[str, ...], output: str, axis: int, shape: tuple[int, ...]) -> None:
        """An output of the node, of what each direction gives."""
        sizes = self._constant("shape", np.array(shape, np.int64))
        if len(parts) == 1:
            self._add("Reshape", (parts[0], sizes), shape, "", output=output)
            return
        apart = tuple(self._add("Reshape", (part, sizes), shape, "part") for part in parts)
        whole = tuple(n * len(parts) if at == axis else n for at, n in enumerate(shape))
        self._add("Concat", apart, whole, "", output=output, axis=axis)

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
