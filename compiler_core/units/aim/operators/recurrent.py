"""Recurrent cells as products of one step: one matrix over the input and the state.

Source: the definitions of LSTM, GRU and RNN in the ONNX standard; gates stand in its order (LSTM:
input, output, forget, cell; GRU: update, reset, hidden).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector

Floats = npt.NDArray[np.float32]
_SIGMOID, _TANH, _RELU = Activation.SIGMOID, Activation.TANH, Activation.RELU
_FUNCTIONS: Final = {"sigmoid": _SIGMOID, "tanh": _TANH, "relu": _RELU}
_STANDARD: Final = {
    "LSTM": (_SIGMOID, _TANH, _TANH),
    "GRU": (_SIGMOID, _TANH),
    "RNN": (_TANH,),
}
_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
CELLS: Final = tuple(_STANDARD)
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


@dataclass(frozen=True)
class CellShape:
    """A recurrent node but for its numbers.

    Attributes:
        operator: Which cell.
        steps, batch: Of its sequence.
        inputs, size: Features that enter each step, and that its state has.
        backward: For each direction, whether it begins at the last step.
        after_reset: Whether the reset gate multiplies a product rather than the state.
    """

    operator: str
    steps: int
    batch: int
    inputs: int
    size: int
    backward: tuple[bool, ...]
    after_reset: bool = False

    @property
    def products(self) -> int:
        """Products of one step in one direction."""
        return (3 if self.after_reset else 2) if self.operator == "GRU" else 1


def cell_shape(graph: Graph, node: Node) -> CellShape:
    """What a recurrent node computes.

    Raises:
        ValueError: Its weights or extents are not known, or it is no cell of the standard.
    """
    attributes = node.attributes
    backward = _DIRECTIONS.get(str(attributes.get("direction", "forward")))
    if backward is None:
        raise ValueError("its direction is none of the standard")
    _require_functions(node, len(backward))
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
    after_reset = node.op == "GRU" and bool(attributes.get("linear_before_reset", 0))
    return CellShape(node.op, steps, batch, inputs, size, backward, after_reset)


def _require_functions(node: Node, directions: int) -> None:
    """Refuses functions that are not those of the standard; an RNN may also have a Relu."""
    named = [str(name).lower() for name in node.attributes.get("activations") or ()]
    if not named:
        return
    found = tuple(_FUNCTIONS.get(name) for name in named)
    usual = _STANDARD[node.op] * directions
    if found != usual and not (node.op == "RNN" and found == (_RELU,) * directions):
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
    wanted = (len(shape.backward), _GATES[node.op] * shape.size)
    if w.shape[:2] != wanted or r.shape[:2] != wanted or w.shape[2] != shape.inputs:
        raise ValueError("its weights do not fit its directions, inputs and size")
    for direction, (one, other, both) in enumerate(zip(w, r, bias, strict=True)):
        in_w, in_r = np.split(both, 2)
        for name, activations, matrix, added in _parts(node, shape, one, other, in_w, in_r):
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


Part = tuple[str, tuple[Activation, ...], Floats, Floats]


def _parts(
    node: Node, shape: CellShape, w: Floats, r: Floats, in_w: Floats, in_r: Floats
) -> list[Part]:
    whole = np.concatenate([w, r], axis=1)
    if node.op == "LSTM":  # all gates at once, of the input followed by the state
        functions = (_SIGMOID, _SIGMOID, _SIGMOID, _TANH)
        return [("gates", functions, whole, in_w + in_r)]
    if node.op == "RNN":
        named = [str(name).lower() for name in node.attributes.get("activations") or ("tanh",)]
        return [("state", (_FUNCTIONS[named[0]],), whole, in_w + in_r)]
    first, last = slice(0, 2 * shape.size), slice(2 * shape.size, None)
    found: list[Part] = [("gates", (_SIGMOID,), whole[first], in_w[first] + in_r[first])]
    if shape.after_reset:  # the reset gate multiplies a product that does not need it
        return [*found, ("input", (), w[last], in_w[last]), ("state", (), r[last], in_r[last])]
    return [*found, ("hidden", (_TANH,), whole[last], in_w[last] + in_r[last])]


def step_order(shape: CellShape) -> Iterator[tuple[int, int]]:
    """Direction and number of each product in the order in which a run computes them."""
    for direction in range(len(shape.backward)):
        for _ in range(shape.steps):
            for number in range(shape.products):
                yield direction, number


def part_workloads(shape: CellShape) -> list[tuple[int, int]]:
    """Outputs and inputs of each product of one step in one direction."""
    size, both = shape.size, shape.inputs + shape.size
    if shape.operator != "GRU":
        return [(_GATES[shape.operator] * size, both)]
    rest = [(size, shape.inputs), (size, size)] if shape.after_reset else [(size, both)]
    return [(2 * size, both), *rest]
