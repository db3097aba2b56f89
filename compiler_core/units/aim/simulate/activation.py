"""The activation functions of the unit, in float32.

Those with a table are interpolated linearly between 513 nodes in [-10, 10]. That the device
interpolates in a table is published; size, range and numbering of the functions are assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np

from compiler_core.units.aim.simulate.numbers import Floats

NODES: Final = 513
_EDGE = np.float32(10.0)
_PER_UNIT = np.float32(25.6)
_SLOPE = np.float32(0.01)


class Function(IntEnum):
    """Functions by the numbers that the configuration register takes."""

    SIGMOID = 0
    TANH = 1
    GELU = 2
    RELU = 3
    LEAKY_RELU = 4
    SILU = 5
    IDENTITY = 6
    UNDEFINED = 7


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2.0))


_EXACT: Final[dict[Function, Callable[[float], float]]] = {
    Function.SIGMOID: lambda x: 1.0 / (1.0 + math.exp(-x)),
    Function.TANH: math.tanh,
    Function.GELU: _gelu,
    Function.SILU: lambda x: x / (1.0 + math.exp(-x)),
}
_OPEN_ABOVE = (Function.GELU, Function.SILU)
"""Beyond the table they give what they are given."""


@lru_cache(maxsize=8)
def table(function: Function) -> Floats:
    """Nodes of a function's table, ``float32[513]``."""
    exact = _EXACT[function]
    nodes = np.array([exact(-10.0 + 20.0 * k / 512.0) for k in range(NODES)], np.float32)
    nodes.setflags(write=False)
    return nodes


def activated(values: Floats, function: Function) -> Floats:
    """A function of float32 values, before they are rounded; undefined gives NaN."""
    x = np.asarray(values, np.float32)
    with np.errstate(all="ignore"):
        if function is Function.RELU:
            return np.where(x > 0, x, np.float32(0))
        if function is Function.LEAKY_RELU:
            return np.where(x >= 0, x, x * _SLOPE)
        if function is Function.IDENTITY:
            return x
        if function is Function.UNDEFINED:
            return np.full_like(x, np.nan)
        return _interpolated(x, function)


def _interpolated(x: Floats, function: Function) -> Floats:
    nodes = table(function)
    clamped = np.minimum(np.maximum(x, -_EDGE), _EDGE)
    place = (clamped + _EDGE) * _PER_UNIT
    below = np.minimum(np.maximum(np.floor(place), np.float32(0)), np.float32(NODES - 2))
    index = np.where(np.isnan(below), np.float32(0), below).astype(np.int64)
    fraction = place - below
    found = nodes[index] + fraction * (nodes[index + 1] - nodes[index])
    return np.where(x > _EDGE, x, found) if function in _OPEN_ABOVE else found
