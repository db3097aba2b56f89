"""GRU: gates in the standard's order, update, reset, hidden.

Update and reset are one product. The hidden gate is another one where the reset gate multiplies the
state; where it multiplies a product, that does not need it and is computed beside the input's.
"""

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


def _parts(shape: CellShape, given: CellWeights, _functions: object) -> list[Part]:
    whole, bias = given.whole, given.bias
    first, last = slice(0, 2 * shape.size), slice(2 * shape.size, None)
    found: list[Part] = [("gates", (_SIGMOID,), whole[first], bias[first])]
    if not shape.after_reset:
        return [*found, ("hidden", (_TANH,), whole[last], bias[last])]
    found.append(("input", (), given.w[last], given.w_bias[last]))
    return [*found, ("state", (), given.r[last], given.r_bias[last])]


def _extents(shape: CellShape) -> list[tuple[int, int]]:
    size, both = shape.size, shape.inputs + shape.size
    rest = [(size, shape.inputs), (size, size)] if shape.after_reset else [(size, both)]
    return [(2 * size, both), *rest]


def _step(
    shape: CellShape, x: Floats, state: Floats, cell: Floats, product: StepProducts
) -> tuple[Floats, Floats]:
    update, reset = np.split(product(0, x, state), 2, axis=1)
    if shape.after_reset:
        new = activated(product(1, x) + reset * product(2, state), Function.TANH)
    else:
        new = product(1, x, reset * state)
    return (np.float32(1) - update) * new + update * state, cell


GRU = Cell("GRU", 3, ((_SIGMOID, _TANH),), _parts, _extents, _step, resets_after=True)
