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

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, as_text
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.recurrence import (
    ACTIVATIONS,
    GATES,
    optional_input,
    recurrent_contradiction,
    shape_reader,
)

MOST_STEPS = 256
"""Steps that are written out."""

_FUNCTIONS = {
    "elu": ("Elu", {"alpha": 1.0}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}
"""Operator and, where none are given, parameters of a function of gates."""
_BIAS, _LENGTHS, _STATE, _CELL, _PEEPHOLES = 3, 4, 5, 6, 7

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
    steps = known.shape[1 if node.attributes.get("layout", 0) else 0]
    if not 1 <= int(steps or 0) <= MOST_STEPS:
        return f"it has {steps} steps; 1 to {MOST_STEPS} are written out"
    weights = [graph.constants.get(name) for name in node.inputs[1:4] if name]
    if any(array is None or array.dtype != np.float32 for array in weights):
        return "its weights are not constant float32 numbers"
    if (peeping := optional_input(node, _PEEPHOLES)) and peeping not in graph.constants:
        return "what its gates see of the cell is no constant"
    named = [as_text(name) for name in node.attributes.get("activations") or ()]
    if len(named) not in (0, _directions(node) * len(ACTIVATIONS[node.op])):
        return f"it has {len(named)} functions"
    if other := [name for name in named if name.lower() not in _FUNCTIONS]:
        return f"its functions are {', '.join(other)}"
    return None


def _directions(node: Node) -> int:
    return 2 if node.text("direction", "forward") == "bidirectional" else 1


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
        self._first = bool(node.attributes.get("layout", 0))
        extents = tuple(int(n) for n in work.shape(node.inputs[0]) or ())
        self._steps, self._batch = extents[1::-1] if self._first else extents[:2]
        self._size = int(work.constants[node.inputs[2]].shape[2])
        self._clip = float(node.attributes.get("clip", 0.0))
        self._lengths = work.constants.get(optional_input(node, _LENGTHS))

    def write(self) -> None:
        """Puts the steps into the place of the node."""
        node, directions = self._node, _directions(self._node)
        backward = node.text("direction", "forward") == "reverse"
        steps, ends, cells = [], [], []
        for direction in range(directions):
            order = range(self._steps)
            if backward or direction == 1:
                order = range(self._steps - 1, -1, -1)
            states, state, cell = self._direction(direction, list(order))
            steps.append(states)
            ends.append(self._last(state, _STATE))
            cells.append(self._last(cell, _CELL))
        outputs = (*node.outputs, "", "", "")[:3]
        if outputs[0]:
            row = (1, 1, self._batch, self._size)
            flat = [self._reshaped(states[t], row) for t in range(self._steps) for states in steps]
            if directions == 2:
                pair = (1, 2, self._batch, self._size)
                pairs = zip(flat[::2], flat[1::2], strict=True)
                flat = [self._add("Concat", two, pair, axis=1) for two in pairs]
            self._join(flat, outputs[0], (self._steps, directions, *self._row), (2, 0, 1, 3))
        for output, last in ((outputs[1], ends), (outputs[2], cells)):
            if output:
                one = (1, self._batch, self._size)
                rows = [self._reshaped(name, one) for name in last]
                self._join(rows, output, (directions, *self._row), (1, 0, 2))
        self._work.replace(node, *self._nodes)

    def _join(
        self, parts: list[str], output: str, shape: tuple[int, ...], order: tuple[int, ...]
    ) -> None:
        """Parts behind one another as an output; with the samples first where the node has them
        so."""
        if not self._first:
            self._add("Concat", parts, output=output, axis=0)
            return
        found = self._add("Concat", parts, shape, axis=0)
        self._add("Transpose", [found], output=output, perm=order)

    def _direction(self, direction: int, order: list[int]) -> tuple[list[str], str, str]:
        """What is given of every step, by time, and the last states of the node and its cell."""
        node, work, size = self._node, self._work, self._size
        w, r = (np.asarray(work.constants[name][direction]) for name in node.inputs[1:3])
        bias = np.zeros(2 * len(w), np.float32)
        if optional_input(node, _BIAS):
            bias = np.asarray(work.constants[node.inputs[_BIAS]][direction])
        own, others = np.split(bias, 2)
        kept = np.zeros_like(others)
        if node.op == "GRU" and node.attributes.get("linear_before_reset", 0):
            kept[2 * size :] = others[2 * size :]  # the reset gate multiplies it, too
        shape = (self._steps, self._batch, len(w))
        parts = self._dense(self._source(), w, own + others - kept, shape)
        state, cell = self._start(_STATE, direction), self._start(_CELL, direction)
        states = [""] * self._steps
        for t in order:
            step = self._slice(parts, t, t + 1, (1, *shape[1:]), axis=0)
            seen = self._reshaped(step, shape[1:])
            before = state, cell
            if node.op == "LSTM":
                state, cell = self._lstm(seen, state, cell, r, direction)
            elif node.op == "GRU":
                state = self._gru(seen, state, r, kept, direction)
            else:
                gates = self._clipped(self._sum(seen, self._product(state, r)))
                state = self._function(direction, 0, gates)
            states[t] = self._while(t, state, self._zeros())
            state = self._while(t, state, before[0])
            cell = self._while(t, cell, before[1]) if node.op == "LSTM" else cell
        return states, state, cell

    def _source(self) -> str:
        """What is read, steps first."""
        x = self._node.inputs[0]
        if not self._first:
            return x
        batch, steps, inputs = (int(n) for n in self._work.shape(x) or ())
        return self._add("Transpose", [x], (steps, batch, inputs), perm=(1, 0, 2))

    def _while(self, time: int, inside: str, behind: str) -> str:
        """``inside`` for samples that are longer than ``time``, else ``behind``."""
        lengths = optional_input(self._node, _LENGTHS)
        if not lengths:
            return inside
        if self._lengths is not None:
            longer = np.asarray(self._lengths, np.int64).reshape(-1, 1) > time
            if longer.all() or not longer.any():
                return inside if longer.all() else behind
            truth = self._constant("longer", longer)
        else:
            column = (self._batch, 1)
            sizes = self._constant("shape", np.array(column, np.int64))
            dtype = np.dtype(self._work.dtype(lengths))
            whole = self._add("Reshape", [lengths, sizes], column, dtype=str(dtype))
            limit = self._constant("time", np.array(time, dtype))
            truth = self._add("Greater", [whole, limit], column, dtype="bool")
        return self._add("Where", [truth, inside, behind], self._row)

    def _function(self, direction: int, place: int, x: str) -> str:
        """A function of gates by its place among those of a direction."""
        node = self._node
        usual = ACTIVATIONS[node.op]
        named = [as_text(n).lower() for n in node.attributes.get("activations") or ()]
        named = named or list(usual) * 2
        at = direction * len(usual) + place
        given = {
            key: list(node.attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")
        }
        for name in named[:at]:
            for key in _FUNCTIONS[name][1]:
                del given[key][:1]
        op, known = _FUNCTIONS[named[at]]
        more: dict[str, Any] = {
            key: given[key][0] if given[key] else value for key, value in known.items()
        }
        return self._add(op, [x], self._work.shape(x) or (), **more)

    def _clipped(self, x: str) -> str:
        """Sums of gates within the node's limits."""
        if not self._clip:
            return x
        ends = [
            self._constant("end", np.array(end, np.float32)) for end in (-self._clip, self._clip)
        ]
        return self._add("Clip", [x, *ends], self._work.shape(x) or ())

    def _lstm(self, seen: str, state: str, cell: str, r: Floats, direction: int) -> tuple[str, str]:
        gates = self._sum(seen, self._product(state, r))
        names = [self._gate(gates, k, k + 1) for k in range(4)]
        peeping = optional_input(self._node, _PEEPHOLES)
        rows: list[Any] = [None] * 3
        if peeping:
            rows = np.split(np.asarray(self._work.constants[peeping][direction]), 3)
        if not peeping and not self._clip:
            opened = self._function(direction, 0, self._gate(gates, 0, 3))
            i, o, f = (self._gate(opened, k, k + 1) for k in range(3))
        else:
            i, f = (
                self._function(direction, 0, self._peeped(names[k], rows[k], cell)) for k in (0, 2)
            )
            o = ""
        if self._node.attributes.get("input_forget", 0):
            one = self._constant("one", np.ones((), np.float32))
            f = self._add("Sub", [one, i], self._row)
        fresh = self._function(direction, 1, self._clipped(names[3]))
        cell = self._sum(self._times(f, cell), self._times(i, fresh))
        o = o or self._function(direction, 0, self._peeped(names[1], rows[1], cell))
        return self._times(o, self._function(direction, 2, cell)), cell

    def _peeped(self, gate: str, row: Floats | None, cell: str) -> str:
        """A gate that sees the cell, within the node's limits."""
        if row is not None:
            gate = self._sum(gate, self._times(cell, self._constant("peephole", row)))
        return self._clipped(gate)

    def _gru(self, seen: str, state: str, r: Floats, kept: Floats, direction: int) -> str:
        size = self._size
        if kept.any() or self._node.attributes.get("linear_before_reset", 0):
            old = self._product(state, r, kept)
            both = self._sum(self._gate(seen, 0, 2), self._gate(old, 0, 2))
            rest = self._gate(old, 2, 3)
        else:
            both = self._sum(self._gate(seen, 0, 2), self._product(state, r[: 2 * size]))
            rest = ""
        opened = self._function(direction, 0, self._clipped(both))
        z, reset = self._gate(opened, 0, 1), self._gate(opened, 1, 2)
        rest = (
            self._times(reset, rest)
            if rest
            else self._product(self._times(reset, state), r[2 * size :])
        )
        fresh = self._function(direction, 1, self._clipped(self._sum(self._gate(seen, 2, 3), rest)))
        apart = self._add("Sub", [state, fresh], self._row)
        return self._sum(fresh, self._times(z, apart))

    @property
    def _row(self) -> tuple[int, int]:
        return (self._batch, self._size)

    def _start(self, position: int, direction: int) -> str:
        """The state before the first step: of an input, else zeros."""
        given = optional_input(self._node, position)
        if not given:
            return self._zeros()
        axis = 1 if self._first else 0
        shape = (self._batch, 1, self._size) if self._first else (1, *self._row)
        part = self._slice(given, direction, direction + 1, shape, axis=axis)
        return self._reshaped(part, self._row)

    def _last(self, state: str, position: int) -> str:
        """A state behind the last step: of samples without any, runtimes give zeros, whatever they
        began with."""
        given = optional_input(self._node, position)
        return self._while(0, state, self._zeros()) if given else state

    def _zeros(self) -> str:
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
        dtype: str | None = None,
        **attributes: Any,
    ) -> str:
        work, like = self._work, self._node.inputs[0]
        base = f"{self._node.name}/{op.lower()}{len(self._nodes)}"
        result = output or work.add_tensor(base, shape, like)
        if dtype is not None:
            work.types[result] = replace(work.types[result], dtype=dtype)
        name = work.fresh_node(base)
        self._nodes.append(Node(name, op, tuple(inputs), (result,), attributes))
        return result
