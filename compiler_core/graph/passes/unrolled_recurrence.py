"""LSTM, GRU and RNN of a fixed number of steps as products, sums and functions, step by step.

For what has no loops: generated sources. The products of the inputs of all steps are one; equal
weights stay one constant. It is no part of :func:`~compiler_core.graph.passes.simplify.simplify`,
which keeps recurrent nodes whole.

| symbol | meaning |
|---|---|
| T, B, I, H | steps, samples, inputs, size of the state |
| G | gates: 4 of an LSTM, 3 of a GRU, 1 of an RNN |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.recurrence import GATES, recurrent_contradiction, shape_reader

MOST_STEPS = 256
"""Steps that are written out."""

_STANDARD = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
_LENGTHS, _STATE, _CELL, _PEEPHOLES = 4, 5, 6, 7

Floats = npt.NDArray[np.float32]


def unrolled(graph: Graph) -> Graph:
    """The graph without recurrent nodes, simplified; those with a refusal stay."""
    work = UnrolledRecurrence().apply(graph)
    return graph if work is graph else simplify(work)


def unrolling_refusal(graph: Graph, node: Node) -> str | None:
    """Why a recurrent node cannot be unrolled; ``None`` where it can."""
    if (contradiction := recurrent_contradiction(node, shape_reader(graph))) is not None:
        return contradiction
    known = graph.types.get(node.inputs[0])
    if known is None or known.shape is None or None in known.shape:
        return "how many steps and samples it has is not fixed"
    if not 1 <= int(known.shape[0] or 0) <= MOST_STEPS:
        return f"it has {known.shape[0]} steps; 1 to {MOST_STEPS} are written out"
    weights = [graph.constants.get(name) for name in node.inputs[1:4] if name]
    if any(array is None or array.dtype != np.float32 for array in weights):
        return "its weights are not constant float32 numbers"
    for position, what in ((_LENGTHS, "sequences have lengths"), (_PEEPHOLES, "gates peep")):
        if len(node.inputs) > position and node.inputs[position]:
            return f"its {what}"
    for key, usual in (("clip", 0.0), ("layout", 0), ("input_forget", 0)):
        if node.attributes.get(key, usual) != usual:
            return f"its {key} is {node.attributes[key]}"
    named = tuple(_text(name).lower() for name in node.attributes.get("activations") or ())
    standard = _STANDARD[node.op] * _directions(node)
    if named and named != standard and not (node.op == "RNN" and set(named) == {"relu"}):
        return f"its functions are {', '.join(named)}"
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _directions(node: Node) -> int:
    return 2 if _text(node.attributes.get("direction", "forward")) == "bidirectional" else 1


@dataclass(frozen=True)
class UnrolledRecurrence:
    """The pass."""

    name: ClassVar[str] = "unrolled-recurrence"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        work = Rewriter(graph)
        for node in work.nodes():
            if is_op(node, *GATES) and unrolling_refusal(graph, node) is None:
                _Unrolling(work, node).write()
        return work.finish()


class _Unrolling:
    """Writes the steps of one node.

    Args:
        work: The graph.
        node: Without a refusal.
    """

    def __init__(self, work: Rewriter, node: Node) -> None:
        self._work, self._node = work, node
        self._nodes: list[Node] = []
        self._known: dict[Any, str] = {}
        self._steps, self._batch, _ = (int(n) for n in work.shape(node.inputs[0]) or ())
        self._size = int(work.constants[node.inputs[2]].shape[2])

    def write(self) -> None:
        """Puts the steps into the place of the node."""
        node, directions = self._node, _directions(self._node)
        backward = _text(node.attributes.get("direction", "forward")) == "reverse"
        steps, ends, cells = [], [], []
        for direction in range(directions):
            order = range(self._steps)
            if backward or direction == 1:
                order = range(self._steps - 1, -1, -1)
            states, cell = self._direction(direction, list(order))
            steps.append(states)
            ends.append(states[order[-1]])
            cells.append(cell)
        outputs = (*node.outputs, "", "", "")[:3]
        if outputs[0]:
            row = (1, 1, self._batch, self._size)
            flat = [self._reshaped(states[t], row) for t in range(self._steps) for states in steps]
            if directions == 2:
                pair = (1, 2, self._batch, self._size)
                pairs = zip(flat[::2], flat[1::2], strict=True)
                flat = [self._add("Concat", two, pair, axis=1) for two in pairs]
            self._add("Concat", flat, output=outputs[0], axis=0)
        for output, last in ((outputs[1], ends), (outputs[2], cells)):
            if output:
                one = (1, self._batch, self._size)
                rows = [self._reshaped(name, one) for name in last]
                self._add("Concat", rows, output=output, axis=0)
        self._work.replace(node, *self._nodes)

    def _direction(self, direction: int, order: list[int]) -> tuple[list[str], str]:
        """The state behind every step, by time, and the last state of the cell."""
        node, work, size = self._node, self._work, self._size
        w, r = (np.asarray(work.constants[name][direction]) for name in node.inputs[1:3])
        bias = np.zeros(2 * len(w), np.float32)
        if len(node.inputs) > 3 and node.inputs[3]:
            bias = np.asarray(work.constants[node.inputs[3]][direction])
        own, others = np.split(bias, 2)
        kept = np.zeros_like(others)
        if node.op == "GRU" and node.attributes.get("linear_before_reset", 0):
            kept[2 * size :] = others[2 * size :]  # the reset gate multiplies it, too
        shape = (self._steps, self._batch, len(w))
        parts = self._dense(node.inputs[0], w, own + others - kept, shape)
        state, cell = self._start(_STATE, direction), self._start(_CELL, direction)
        states = [""] * self._steps
        for t in order:
            step = self._slice(parts, t, t + 1, (1, *shape[1:]), axis=0)
            seen = self._reshaped(step, shape[1:])
            if node.op == "LSTM":
                state, cell = self._lstm(seen, state, cell, r)
            elif node.op == "GRU":
                state = self._gru(seen, state, r, kept)
            else:
                named = node.attributes.get("activations") or ("Tanh", "Tanh")
                function = _text(named[direction]).capitalize()
                state = self._map(function, self._sum(seen, self._product(state, r)))
            states[t] = state
        return states, cell

    def _lstm(self, seen: str, state: str, cell: str, r: Floats) -> tuple[str, str]:
        gates = self._sum(seen, self._product(state, r))
        opened = self._map("Sigmoid", self._gate(gates, 0, 3))
        i, o, f = (self._gate(opened, k, k + 1) for k in range(3))
        fresh = self._map("Tanh", self._gate(gates, 3, 4))
        cell = self._sum(self._times(f, cell), self._times(i, fresh))
        return self._times(o, self._map("Tanh", cell)), cell

    def _gru(self, seen: str, state: str, r: Floats, kept: Floats) -> str:
        size = self._size
        if kept.any() or self._node.attributes.get("linear_before_reset", 0):
            old = self._product(state, r, kept)
            both = self._sum(self._gate(seen, 0, 2), self._gate(old, 0, 2))
            rest = self._gate(old, 2, 3)
        else:
            both = self._sum(self._gate(seen, 0, 2), self._product(state, r[: 2 * size]))
            rest = ""
        opened = self._map("Sigmoid", both)
        z, reset = self._gate(opened, 0, 1), self._gate(opened, 1, 2)
        rest = (
            self._times(reset, rest)
            if rest
            else self._product(self._times(reset, state), r[2 * size :])
        )
        fresh = self._map("Tanh", self._sum(self._gate(seen, 2, 3), rest))
        apart = self._add("Sub", [state, fresh], self._row)
        return self._sum(fresh, self._times(z, apart))

    @property
    def _row(self) -> tuple[int, int]:
        return (self._batch, self._size)

    def _start(self, position: int, direction: int) -> str:
        """The state before the first step: of an input, else zeros."""
        node = self._node
        if len(node.inputs) > position and node.inputs[position]:
            shape = (1, *self._row)
            part = self._slice(node.inputs[position], direction, direction + 1, shape, axis=0)
            return self._reshaped(part, self._row)
        return self._constant("zeros", np.zeros(self._row, np.float32))

    def _dense(self, x: str, rows: Floats, bias: Floats, shape: tuple[int, ...]) -> str:
        weight = self._constant("weight", np.ascontiguousarray(rows.T))
        found = self._add("MatMul", [x, weight], shape)
        return self._add("Add", [found, self._constant("bias", bias)], shape)

    def _product(self, state: str, rows: Floats, bias: Floats | None = None) -> str:
        shape = (self._batch, len(rows))
        zeros = np.zeros(len(rows), np.float32)
        return self._dense(state, rows, zeros if bias is None else bias, shape)

    def _sum(self, a: str, b: str) -> str:
        return self._add("Add", [a, b], self._work.shape(a) or ())

    def _times(self, a: str, b: str) -> str:
        return self._add("Mul", [a, b], self._row)

    def _map(self, function: str, x: str) -> str:
        return self._add(function, [x], self._work.shape(x) or ())

    def _gate(self, x: str, first: int, last: int) -> str:
        """Some gates of a tensor that has all, or the first of them."""
        have = (self._work.shape(x) or (0, 0))[1] // self._size
        if (first, last) == (0, have):
            return x
        shape = (self._batch, (last - first) * self._size)
        return self._slice(x, first * self._size, last * self._size, shape, axis=1)

    def _slice(self, x: str, first: int, last: int, shape: tuple[int, ...], axis: int) -> str:
        ends = [self._constant("end", np.array([n], np.int64)) for n in (first, last, axis)]
        return self._add("Slice", [x, *ends], shape)

    def _reshaped(self, x: str, shape: tuple[int, ...]) -> str:
        return self._add("Reshape", [x, self._constant("shape", np.array(shape, np.int64))], shape)

    def _constant(self, wanted: str, array: npt.NDArray[Any]) -> str:
        key = (wanted, array.shape, array.tobytes())
        if key not in self._known:
            name = f"{self._node.name}/{wanted}"
            self._known[key] = self._work.add_constant(name, array)
        return self._known[key]

    def _add(
        self,
        op: str,
        inputs: Any,
        shape: tuple[int, ...] = (),
        *,
        output: str = "",
        **attributes: Any,
    ) -> str:
        work, like = self._work, self._node.inputs[0]
        base = f"{self._node.name}/{op.lower()}{len(self._nodes)}"
        result = output or work.add_tensor(base, shape, like)
        name = work.fresh_node(base)
        self._nodes.append(Node(name, op, tuple(inputs), (result,), attributes))
        return result
