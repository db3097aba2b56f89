"""Recurrent cells that take one step become products, sums and activations.

What runs sample by sample with its state fed back (speech activity, streaming recognition, the
prediction network of a transducer) takes one step per run: nothing recurs inside. Its products are
layers like any other then; equations as in the definitions of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, as_text
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.recurrence import ACTIVATIONS, recurrent_contradiction

_LEAST_OPSET = 10
"""Slice takes its bounds as inputs from then on."""
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class SingleSteps:
    """Write out LSTM, GRU and RNN over one step with the usual activations."""

    name: ClassVar[str] = "single-steps"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        if graph.opsets.get("", _LEAST_OPSET) >= _LEAST_OPSET:
            for node in rewriter.nodes():
                if is_op(node, *ACTIVATIONS) and _is_plain(rewriter, node):
                    _write_out(rewriter, node)
        return rewriter.finish()


def _is_plain(rewriter: Rewriter, node: Node) -> bool:
    known, inputs = node.attributes, (*node.inputs, *[""] * 8)
    source, state = rewriter.shape(inputs[0]), inputs[5:7]
    if source is None or len(source) != 3 or source[0] != 1 or known.get("layout", 0):
        return False
    if not all(rewriter.batch_free(name) for name in (inputs[0], *node.outputs) if name):
        return False  # the first axis is the batch of the model, or what depends on it: steps
    if any(name and rewriter.shape(name) is None for name in state) or inputs[4] or inputs[7]:
        return False
    if recurrent_contradiction(node, rewriter.shape) is not None:
        return False
    if known.get("clip") or known.get("input_forget") or rewriter.dtype(inputs[0]) != "float32":
        return False
    usual = tuple(map(str.capitalize, ACTIVATIONS[node.op])) * _DIRECTIONS.get(
        node.text("direction", "forward"), 0
    )
    asked = tuple(as_text(name) for name in known.get("activations") or usual)
    weights = [rewriter.constant(node, 1), rewriter.constant(node, 2)]
    has_bias = not inputs[3] or rewriter.constant(node, 3) is not None
    return bool(usual) and asked == usual and has_bias and all(w is not None for w in weights)


def _write_out(rewriter: Rewriter, node: Node) -> None:
    cell = _Cell(rewriter, node)
    step = _STEPS[node.op]
    results = [step(cell, direction) for direction in range(len(cell.constant(1)))]
    for place, output in enumerate(node.outputs):
        if output:
            lines = [result[1 if place == 2 else 0] for result in results]
            cell.gather(lines, output, first=place == 0)
    rewriter.replace(node, *cell.nodes)


@dataclass(frozen=True)
class _Cell:
    """A recurrent node whose step is being written out.

    Attributes:
        rewriter: Of the graph.
        node: What it is in place of.
        nodes: Written so far.
    """

    rewriter: Rewriter
    node: Node
    nodes: list[Node] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Sequences side by side."""
        return (self.rewriter.shape(self.node.inputs[0]) or (1, 1))[1]

    @property
    def width(self) -> int:
        """Of the state."""
        return int(self.constant(2).shape[2])

    def constant(self, place: int) -> _Floats:
        """The weights at an input."""
        return self.rewriter.constants[self.node.inputs[place]]

    def bias(self, direction: int) -> tuple[_Floats, _Floats]:
        """Of the input's and of the state's gates."""
        if len(self.node.inputs) > 3 and self.node.inputs[3]:
            both = self.constant(3)[direction]
        else:
            both = np.zeros(2 * self.constant(1).shape[1], self.constant(1).dtype)
        return both[: len(both) // 2], both[len(both) // 2 :]

    def source(self) -> str:
        """The input as rows."""
        shape = self.rewriter.shape(self.node.inputs[0]) or ()
        return self.reshape(self.node.inputs[0], shape[1:])

    def state(self, place: int, direction: int) -> str | None:
        """What a state is before the step; ``None`` for zeros."""
        name = self.node.inputs[place] if len(self.node.inputs) > place else ""
        if not name:
            return None
        value = self.rewriter.constants.get(name)
        if value is not None:
            return self.add_constant("state", value[direction]) if value.any() else None
        if len(self.constant(1)) == 1:
            return self.reshape(name, (self.rows, self.width))
        which = self.add_constant("direction", np.array(direction, np.int64))
        return self.add("Gather", (name, which), self.width, {"axis": 0})

    def product(self, rows: str, weight: _Floats, bias: _Floats | None = None) -> str:
        """``rows @ weight.T + bias``."""
        inputs = [rows, self.add_constant("weight", np.ascontiguousarray(weight.T))]
        if bias is not None:
            inputs.append(self.add_constant("bias", bias))
        return self.add("Gemm", tuple(inputs), len(weight))

    def part(self, source: str, first: int, last: int) -> str:
        """Columns of rows."""
        bounds = {"start": first, "end": last, "axis": 1}
        names = [self.add_constant(k, np.array([v], np.int64)) for k, v in bounds.items()]
        return self.add("Slice", (source, *names), last - first)

    def add(
        self,
        op: str,
        inputs: tuple[str, ...],
        width: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> str:
        """A node that gives rows, as wide as the state unless said otherwise."""
        return self._node(op, inputs, (self.rows, width or self.width), attributes or {})

    def reshape(self, source: str, shape: tuple[int, ...], target: str | None = None) -> str:
        """The same values under another shape."""
        sizes = self.add_constant("shape", np.array(shape, np.int64))
        return self._node("Reshape", (source, sizes), shape, {}, target)

    def gather(self, directions: list[str], output: str, *, first: bool) -> None:
        """An output of the node, of what each direction gives."""
        one = (1, 1, self.rows, self.width) if first else (1, self.rows, self.width)
        if len(directions) == 1:
            self.reshape(directions[0], one, output)
            return
        parts = tuple(self.reshape(name, one) for name in directions)
        axis = 1 if first else 0
        whole = tuple(n * len(parts) if at == axis else n for at, n in enumerate(one))
        self._node("Concat", parts, whole, {"axis": axis}, output)

    def add_constant(self, what: str, array: _Floats) -> str:
        """A constant of the step."""
        return self.rewriter.add_constant(f"{self.node.name}/{what}", array)

    def _node(
        self,
        op: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        attributes: dict[str, Any],
        target: str | None = None,
    ) -> str:
        like = self.node.inputs[0]
        target = target or self.rewriter.add_tensor(f"{self.node.name}/{op}", shape, like)
        name = f"{self.node.name}/{len(self.nodes)}"
        self.nodes.append(Node(self.rewriter.fresh_node(name), op, inputs, (target,), attributes))
        return target


def _lstm(cell: _Cell, direction: int) -> tuple[str, str]:
    size = cell.width
    hidden, carried = cell.state(5, direction), cell.state(6, direction)
    gates = cell.product(cell.source(), cell.constant(1)[direction], np.add(*cell.bias(direction)))
    if hidden is not None:
        recurrent = cell.product(hidden, cell.constant(2)[direction])
        gates = cell.add("Add", (gates, recurrent), 4 * size)
    opened = cell.add("Sigmoid", (cell.part(gates, 0, 3 * size),), 3 * size)
    taken, given, kept = (cell.part(opened, at * size, (at + 1) * size) for at in range(3))
    fresh = cell.add("Mul", (taken, cell.add("Tanh", (cell.part(gates, 3 * size, 4 * size),))))
    if carried is not None:
        fresh = cell.add("Add", (cell.add("Mul", (kept, carried)), fresh))
    return cell.add("Mul", (given, cell.add("Tanh", (fresh,)))), fresh


def _gru(cell: _Cell, direction: int) -> tuple[str, str]:
    size, hidden = cell.width, cell.state(5, direction)
    late = bool(cell.node.attributes.get("linear_before_reset", 0))
    recurrent, (bias, own) = cell.constant(2)[direction], cell.bias(direction)
    apart = (np.arange(3 * size) >= 2 * size) & late
    gates = cell.product(
        cell.source(), cell.constant(1)[direction], bias + np.where(apart, 0, own).astype(own.dtype)
    )
    fed, fresh = cell.part(gates, 0, 2 * size), cell.part(gates, 2 * size, 3 * size)
    if hidden is None:
        update, reset = _halves(cell, fed)
        if late:
            inner = cell.add("Mul", (reset, cell.add_constant("bias", own[None, 2 * size :])))
            fresh = cell.add("Add", (fresh, inner))
        fresh = cell.add("Tanh", (fresh,))
        result = cell.add("Sub", (fresh, cell.add("Mul", (update, fresh))))
        return result, result
    if late:
        shift = np.where(apart, own, 0).astype(own.dtype)
        both = cell.product(hidden, recurrent, shift)
        fed = cell.add("Add", (fed, cell.part(both, 0, 2 * size)), 2 * size)
        update, reset = _halves(cell, fed)
        inner = cell.add("Mul", (reset, cell.part(both, 2 * size, 3 * size)))
    else:
        fed = cell.add("Add", (fed, cell.product(hidden, recurrent[: 2 * size])), 2 * size)
        update, reset = _halves(cell, fed)
        inner = cell.product(cell.add("Mul", (reset, hidden)), recurrent[2 * size :])
    fresh = cell.add("Tanh", (cell.add("Add", (fresh, inner)),))
    change = cell.add("Mul", (update, cell.add("Sub", (hidden, fresh))))
    result = cell.add("Add", (fresh, change))
    return result, result


def _halves(cell: _Cell, gates: str) -> tuple[str, str]:
    opened = cell.add("Sigmoid", (gates,), 2 * cell.width)
    return cell.part(opened, 0, cell.width), cell.part(opened, cell.width, 2 * cell.width)


def _rnn(cell: _Cell, direction: int) -> tuple[str, str]:
    gates = cell.product(cell.source(), cell.constant(1)[direction], np.add(*cell.bias(direction)))
    hidden = cell.state(5, direction)
    if hidden is not None:
        gates = cell.add("Add", (gates, cell.product(hidden, cell.constant(2)[direction])))
    result = cell.add("Tanh", (gates,))
    return result, result


_STEPS: Mapping[str, Callable[[_Cell, int], tuple[str, str]]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}
