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


FUNCTIONS: dict[str, Callable[[Wide, Wide], Wide]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": _quotient,
    "mod": _rest,
    "fmod": lambda a, b: np.where(b == 0, 0, _rest_of_dividend(a, b)),
    "min": np.minimum,
    "max": np.maximum,
}
"""Functions of two numbers by name."""


def computed(
    function: str, a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """A function of two arrays that broadcast, by its name in :data:`FUNCTIONS`."""
    found = FUNCTIONS[function](a.astype(np.int64), b.astype(np.int64))
    return wrapped(np.asarray(found, np.int64))
