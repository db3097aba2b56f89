"""One step of a recurrent cell whose inputs are multiplied already, as the body of a Scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

_GATES, _STATE, _CELL = "gates", "state", "cell"


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
        self, outer: Mapping[str, str], row: tuple[int, int], width: int, dtype: int
    ) -> onnx.GraphProto:
        """A body that reads its weights from the graph around it.

        Args:
            outer: Names there by what they are: ``recurrent``, the weights of the state, or
                ``doors`` and ``fresh``, where these are apart; ``late`` for what is added before
                the reset gate.
            row: Shape of a state.
            width: Of all gates side by side.
            dtype: Element type by its number.
        """
        writer = _StepWriter(outer, row[1])
        after = self.write(writer)
        info = onnx.helper.make_tensor_value_info
        nodes = [
            *writer.nodes,
            onnx.helper.make_node("Identity", [after[0]], ["given"]),
        ]
        return onnx.helper.make_graph(
            nodes,
            "step",
            [
                *(info(name, dtype, row) for name in self.states),
                info(_GATES, dtype, (row[0], width)),
            ],
            [*(info(name, dtype, row) for name in after), info("given", dtype, row)],
            writer.initializers,
        )


class _StepWriter:
    """Collects nodes of a body.

    Args:
        outer: Names of weights.
        size: Of the state.
    """

    def __init__(self, outer: Mapping[str, str], size: int) -> None:
        self.outer, self.size = outer, size
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str) -> str:
        """A node of one result."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [name]))
        return name

    def split(self, tensor: str, *parts: int) -> tuple[str, ...]:
        """Columns, so many times the size of the state each."""
        sizes = f"sizes{len(self.initializers)}"
        array = np.array(parts, np.int64) * self.size
        self.initializers.append(onnx.numpy_helper.from_array(array, sizes))
        names = [f"t{len(self.nodes)}_{place}" for place in range(len(parts))]
        self.nodes.append(onnx.helper.make_node("Split", [tensor, sizes], names, axis=-1))
        return tuple(names)


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
    return to.add("Gemm", _STATE, to.outer["recurrent"], _GATES)


def _lstm(to: _StepWriter) -> tuple[str, ...]:
    doors, fresh = to.split(_sum(to), 3, 1)
    taken, given, kept = to.split(to.add("Sigmoid", doors), 1, 1, 1)
    cell = to.add("Add", to.add("Mul", kept, _CELL), to.add("Mul", taken, to.add("Tanh", fresh)))
    return to.add("Mul", given, to.add("Tanh", cell)), cell


def _late_gru(to: _StepWriter) -> tuple[str, ...]:
    fed, fresh = to.split(_GATES, 2, 1)
    both = to.add("Gemm", _STATE, to.outer["recurrent"], to.outer["late"])
    seen, inner = to.split(both, 2, 1)
    update, reset = to.split(to.add("Sigmoid", to.add("Add", fed, seen)), 1, 1)
    return _mixed(to, update, to.add("Add", fresh, to.add("Mul", reset, inner)))


def _early_gru(to: _StepWriter) -> tuple[str, ...]:
    fed, fresh = to.split(_GATES, 2, 1)
    opened = to.add("Sigmoid", to.add("Gemm", _STATE, to.outer["doors"], fed))
    update, reset = to.split(opened, 1, 1)
    return _mixed(
        to, update, to.add("Gemm", to.add("Mul", reset, _STATE), to.outer["fresh"], fresh)
    )


def _mixed(to: _StepWriter, update: str, inner: str) -> tuple[str, ...]:
    fresh = to.add("Tanh", inner)
    change = to.add("Mul", update, to.add("Sub", _STATE, fresh))
    return (to.add("Add", fresh, change),)


def _rnn(to: _StepWriter) -> tuple[str, ...]:
    return (to.add("Tanh", _sum(to)),)
