"""Recurrent cells as products of one step: one matrix over the input and the state.

Source: the definitions of LSTM, GRU and RNN in the ONNX standard, each in a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.recurrence import recurrent_contradiction, shape_reader
from compiler_core.units.aim.operators.cell import Cell, CellShape, CellWeights, Floats
from compiler_core.units.aim.operators.gru import GRU
from compiler_core.units.aim.operators.lstm import LSTM
from compiler_core.units.aim.operators.rnn import RNN
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector

_FUNCTIONS: Final = {
    "sigmoid": Activation.SIGMOID,
    "tanh": Activation.TANH,
    "relu": Activation.RELU,
}
CELLS: Final[Mapping[str, Cell]] = {cell.operator: cell for cell in (LSTM, GRU, RNN)}
"""What is known of every recurrent operator, by its name."""
MOST_STEPS: Final = 4096
"""Of a sequence: each is a launch of its own."""
_DIRECTIONS: Final = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_WEIGHTS, _BIAS, _LENGTHS, _STATE, _PEEPHOLES = slice(1, 3), 3, 4, 5, 7


@dataclass(frozen=True, eq=False)
class StepProduct:
    """A product of one step.

    Attributes:
        direction: Number of the direction.
        name: Which of its products it is.
        workload: What is computed.
        matrix: ``float32[outputs, inputs]``.
        bias: ``float32[outputs]``.
    """

    direction: int
    name: str
    workload: MatrixVector
    matrix: Floats
    bias: Floats


def cell_shape(graph: Graph, node: Node) -> CellShape:
    """What a recurrent node computes.

    Raises:
        ValueError: Its weights or extents are not known, or it is no cell of the standard.
    """
    attributes = node.attributes
    contradiction = recurrent_contradiction(node, shape_reader(graph))
    if contradiction is not None:
        raise ValueError(contradiction)
    backward = _DIRECTIONS.get(str(attributes.get("direction", "forward")))
    if backward is None:
        raise ValueError("its direction is none of the standard")
    _functions(node, len(backward))
    if attributes.get("clip") is not None or attributes.get("input_forget", 0):
        raise ValueError("its gates are clipped or coupled")
    if attributes.get("layout", 0):
        raise ValueError("its samples come before its steps")
    for position, what in ((_LENGTHS, "sequences have lengths of their own"),
                           (_PEEPHOLES, "gates look at the state of the cell")):  # fmt: skip
        if len(node.inputs) > position and node.inputs[position]:
            raise ValueError(f"its {what}")
    given = [graph.constants.get(name) for name in node.inputs[_WEIGHTS]]
    if any(value is None or value.dtype != np.float32 for value in given):
        raise ValueError("its weights are computed when the model runs: they lie in no bank")
    known = graph.types.get(node.inputs[0])
    if known is None or known.shape is None or None in known.shape:
        raise ValueError("how many steps and samples it has is not known")
    steps, batch, inputs = (int(extent or 0) for extent in known.shape)
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"it has {steps} steps; 1 to {MOST_STEPS} are launched")
    size = np.asarray(given[1]).shape[2]
    for name in node.inputs[_STATE:_PEEPHOLES]:
        if name in graph.constants and np.any(graph.constants[name]):
            raise ValueError("its state begins with numbers of the model other than zero")
    resets_after = CELLS[node.op].resets_after
    after_reset = resets_after and bool(attributes.get("linear_before_reset", 0))
    return CellShape(node.op, steps, batch, inputs, size, backward, after_reset)


def _functions(node: Node, directions: int) -> tuple[Activation, ...]:
    """Functions of a node in one direction.

    Raises:
        ValueError: They are others than its cell can have, or differ between directions.
    """
    allowed = CELLS[node.op].functions
    named = [str(name).lower() for name in node.attributes.get("activations") or ()]
    if not named:
        return allowed[0]
    found = tuple(_FUNCTIONS.get(name) for name in named)
    for functions in allowed:
        if found == functions * directions:
            return functions
    raise ValueError("its activations are others than those of the standard")


def cell_products(graph: Graph, node: Node) -> Iterator[StepProduct]:
    """Products of one step, direction by direction.

    Raises:
        ValueError: See :func:`cell_shape`.
    """
    shape = cell_shape(graph, node)
    w, r = (np.asarray(graph.constants[name], np.float32) for name in node.inputs[_WEIGHTS])
    bias = np.zeros((len(w), 2 * w.shape[1]), np.float32)
    has_bias = len(node.inputs) > _BIAS and bool(node.inputs[_BIAS])
    if has_bias:
        value = graph.constants.get(node.inputs[_BIAS])
        if value is None:
            raise ValueError("its bias is computed when the model runs")
        bias = np.asarray(value, np.float32)
    cell = CELLS[node.op]
    functions = _functions(node, len(shape.backward))
    for direction, (one, other, both) in enumerate(zip(w, r, bias, strict=True)):
        weights = CellWeights(one, other, *np.split(both, 2))
        for name, activations, matrix, added in cell.parts(shape, weights, functions):
            outputs, inputs = matrix.shape
            work = MatrixVector(
                outputs,
                inputs,
                shape.batch,
                bias=has_bias,
                activations=activations,
                is_step=True,
            )
            yield StepProduct(direction, name, work, np.ascontiguousarray(matrix), added)


def step_order(shape: CellShape) -> Iterator[tuple[int, int]]:
    """Direction and number of each product in the order in which a run computes them."""
    count = len(part_workloads(shape))
    for direction in range(len(shape.backward)):
        for _ in range(shape.steps):
            for number in range(count):
                yield direction, number


def part_workloads(shape: CellShape) -> Sequence[tuple[int, int]]:
    """Outputs and inputs of each product of one step in one direction."""
    return CELLS[shape.operator].extents(shape)
