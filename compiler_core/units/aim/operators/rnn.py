"""RNN: the state is a function of one product."""

from __future__ import annotations

from compiler_core.units.aim.operators.cell import (
    Cell,
    CellShape,
    CellWeights,
    Floats,
    Part,
    StepProducts,
)
from compiler_core.units.aim.schedule.workload import Activation


def _parts(_shape: CellShape, given: CellWeights, functions: tuple[Activation, ...]) -> list[Part]:
    return [("state", functions, given.whole, given.bias)]


def _extents(shape: CellShape) -> list[tuple[int, int]]:
    return [(shape.size, shape.inputs + shape.size)]


def _step(
    _shape: CellShape, x: Floats, state: Floats, cell: Floats, product: StepProducts
) -> tuple[Floats, Floats]:
    return product(0, x, state), cell


RNN = Cell("RNN", 1, ((Activation.TANH,), (Activation.RELU,)), _parts, _extents, _step)
