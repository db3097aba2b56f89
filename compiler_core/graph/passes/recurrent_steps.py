"""One step of a recurrent cell whose inputs are multiplied already, as the body of a Scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

_GATES, _STATE, _CELL = "gates", "state", "cell"
_ROW = 2
"""Axes of the state of one direction."""


@dataclass(frozen=True)
class CellStep:
    """How a state becomes the next.

    Attributes:
        states: Inputs of the body that are states; its first outputs are the next ones.
        write: Writes the nodes; returns the next states.
    """

    states: tuple[str, ...]
    write: Callable[[_StepWriter], tuple[str, ...]]

    def body(
        self, outer: Mapping[str, str], row: tuple[int, ...], width: int, dtype: int
    ) -> onnx.GraphProto:
        """A body that reads its weights from the graph around it.

        Two directions are one body: each has its own place along the first axis of the states, and
        its own gates and results, ``[1, rows, …]``.

        Args:
            outer: Names there by what they are: ``recurrent``, the weights of the state, or
                ``doors`` and ``fresh``, where these are apart; ``late`` for what is added before
                the reset gate.
            row: Shape of a state: rows and size, behind the directions where these are two.
            width: Of all gates side by side.
            dtype: Element type by its number.
        """
        directions = row[0] if len(row) > _ROW else 1
        writer = _StepWriter(outer, row[-1], together=directions > 1)
        names = [_GATES] if directions == 1 else [f"{_GATES}{d}" for d in range(directions)]
        given = ["given"] if directions == 1 else [f"given{d}" for d in range(directions)]
        if directions > 1:
            writer.nodes.append(onnx.helper.make_node("Concat", names, [_GATES], axis=0))
        after = self.write(writer)
        if directions > 1:
            writer.cut(after[0], [1] * directions, given, axis=0)
        else:
            writer.nodes.append(onnx.helper.make_node("Identity", [after[0]], given))
        part = row if directions == 1 else (1, *row[1:])
        info = onnx.helper.make_tensor_value_info
        return onnx.helper.make_graph(
            writer.nodes,
            "step",
            [
                *(info(name, dtype, row) for name in self.states),
                *(info(name, dtype, (*part[:-1], width)) for name in names),
            ],
            [
                *(info(name, dtype, row) for name in after),
                *(info(name, dtype, part) for name in given),
            ],
            writer.initializers,
        )


class _StepWriter:
    """Collects nodes of a body.

    Args:
        outer: Names of weights.
        size: Of the state.
        together: Whether directions are an axis before the rows.
    """

    def __init__(self, outer: Mapping[str, str], size: int, *, together: bool) -> None:
        self.outer, self.size, self.together = outer, size, together
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str) -> str:
        """A node of one result."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [name]))
        return name

    def product(self, rows: str, weight: str, added: str) -> str:
        """``rows @ weight + added``."""
        if not self.together:
            return self.add("Gemm", rows, self.outer[weight], added)
        return self.add("Add", self.add("MatMul", rows, self.outer[weight]), added)

    def split(self, tensor: str, *parts: int) -> tuple[str, ...]:
        """Columns, so many times the size of the state each."""
        names = [f"t{len(self.nodes)}_{place}" for place in range(len(parts))]
        self.cut(tensor, [part * self.size for part in parts], names, axis=-1)
        return tuple(names)

    def cut(self, tensor: str, parts: Sequence[int], names: Sequence[str], *, axis: int) -> None:
        """Parts of these lengths along an axis, under these names."""
        sizes = f"sizes{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(np.array(parts, np.int64), sizes))
        self.nodes.append(onnx.helper.make_node("Split", [tensor, sizes], names, axis=axis))


def step_of(op: str, *, late: bool) -> CellStep:
    """The step of an operator with its usual activations.

    Args:
        op: LSTM, GRU or RNN.
        late: Whether a GRU multiplies by its reset gate behind the product
            (``linear_before_reset``).
    """
    if op == "LSTM":
        return CellStep((_STATE, _CELL), _lstm)
    if op == "GRU":
        return CellStep((_STATE,), _late_gru if late else _early_gru)
    return CellStep((_STATE,), _rnn)


def _sum(to: _StepWriter) -> str:
    """All gates: what inputs and state give together."""
    return to.product(_STATE, "recurrent", _GATES)


def _lstm(to: _StepWriter) -> tuple[str, ...]:
    doors, fresh = to.split(_sum(to), 3, 1)
    taken, given, kept = to.split(to.add("Sigmoid", doors), 1, 1, 1)
    cell = to.add("Add", to.add("Mul", kept, _CELL), to.add("Mul", taken, to.add("Tanh", fresh)))
    return to.add("Mul", given, to.add("Tanh", cell)), cell


def _late_gru(to: _StepWriter) -> tuple[str, ...]:
    fed, fresh = to.split(_GATES, 2, 1)
    both = to.product(_STATE, "recurrent", to.outer["late"])
    seen, inner = to.split(both, 2, 1)
    update, reset = to.split(to.add("Sigmoid", to.add("Add", fed, seen)), 1, 1)
    return _mixed(to, update, to.add("Add", fresh, to.add("Mul", reset, inner)))


def _early_gru(to: _StepWriter) -> tuple[str, ...]:
    fed, fresh = to.split(_GATES, 2, 1)
    opened = to.add("Sigmoid", to.product(_STATE, "doors", fed))
    update, reset = to.split(opened, 1, 1)
    left = to.add("Mul", reset, _STATE)
    return _mixed(to, update, to.product(left, "fresh", fresh))


def _mixed(to: _StepWriter, update: str, inner: str) -> tuple[str, ...]:
    fresh = to.add("Tanh", inner)
    change = to.add("Mul", update, to.add("Sub", _STATE, fresh))
    return (to.add("Add", fresh, change),)


def _rnn(to: _StepWriter) -> tuple[str, ...]:
    return (to.add("Tanh", _sum(to)),)
