"""LSTM: gates in the standard's order, input, output, forget, cell, as one product."""

from __future__ import annotations

import numpy as np

from compiler_core.units.aim.operators.cell import (
    Cell,
    CellShape,
    CellWeights,
    Floats,
    Part,
    StepProducts,
)
from compiler_core.units.aim.schedule.workload import Activation
from compiler_core.units.aim.simulate.activation import Function, activated

_SIGMOID, _TANH = Activation.SIGMOID, Activation.TANH
_GATES = 4


def _parts(_shape: CellShape, given: CellWeights, _functions: object) -> list[Part]:
    return [("gates", (_SIGMOID, _SIGMOID, _SIGMOID, _TANH), given.whole, given.bias)]


def _extents(shape: CellShape) -> list[tuple[int, int]]:
    return [(_GATES * shape.size, shape.inputs + shape.size)]


def _step(
    _shape: CellShape, x: Floats, state: Floats, cell: Floats, product: StepProducts
) -> tuple[Floats, Floats]:
    taken, shown, kept, new = np.split(product(0, x, state), _GATES, axis=1)
    cell = kept * cell + taken * new
    return shown * activated(cell, Function.TANH), cell


LSTM = Cell("LSTM", _GATES, ((_SIGMOID, _TANH, _TANH),), _parts, _extents, _step, keeps_cell=True)
