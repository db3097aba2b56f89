"""Arithmetic of whole numbers of 32 bits: what leaves the range comes in at its other end.

Quotients lose their fraction (towards zero, as ONNX's Div of integers); a division by zero, which
has no result, is 0 here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int32]
Wide = npt.NDArray[np.int64]


def wrapped(values: Wide) -> Whole:
    """The lowest 32 bits."""
    return values.astype(np.uint64).astype(np.uint32).view(np.int32)


def _quotient(a: Wide, b: Wide) -> Wide:
    some = np.where(b == 0, 1, b)
    found = np.abs(a) // np.abs(some) * np.sign(a) * np.sign(some)
    return np.where(b == 0, 0, found)


def _rest(a: Wide, b: Wide) -> Wide:
    """Of the sign of the divisor."""
    return np.where(b == 0, 0, a - np.floor_divide(a, np.where(b == 0, 1, b)) * b)


def _rest_of_dividend(a: Wide, b: Wide) -> Wide:
    return a - _quotient(a, b) * np.where(b == 0, a, b)


def _power(a: Wide, b: Wide) -> Wide:
    """By squaring, each product of 32 bits; one over a power has no fraction left."""
    a, b = np.broadcast_arrays(a, b)
    base, left = a.copy(), np.maximum(b, 0)
    found = np.ones_like(base)
    while left.any():
        found = np.where(left & 1, wrapped(found * base).astype(np.int64), found)
        base = wrapped(base * base).astype(np.int64)
        left = left >> 1
    ones = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    return np.where(b < 0, ones, found)


def _unsigned(a: Wide) -> Wide:
    return a & 0xFFFFFFFF


def _distance(b: Wide) -> Wide:
    """What bits are moved by: 32 and more, and less than none, move all of them out."""
    return np.where((b < 0) | (b > 32), 32, b)


FUNCTIONS: dict[str, Callable[[Wide, Wide], Wide]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": _quotient,
    "mod": _rest,
    "fmod": lambda a, b: np.where(b == 0, 0, _rest_of_dividend(a, b)),
    "min": np.minimum,
    "max": np.maximum,
    "pow": _power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "left": lambda a, b: _unsigned(a) << _distance(b),
    "arithmetic": lambda a, b: a >> np.minimum(_distance(b), 31),
    "right": lambda a, b: _unsigned(a) >> _distance(b),
}
"""Functions of two numbers by name."""


def computed(
    function: str, a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """A function of two arrays that broadcast, by its name in :data:`FUNCTIONS`."""
    found = FUNCTIONS[function](a.astype(np.int64), b.astype(np.int64))
    return wrapped(np.asarray(found, np.int64))
