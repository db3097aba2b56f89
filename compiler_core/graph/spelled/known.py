"""What follows from a shape alone: constants."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from compiler_core.graph.dtypes import dtype_name
from compiler_core.graph.spelled.spelling import Spelling

_DTYPES = (
    *("bool", "float32", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32"),
)
"""Of constants that are made."""


def shape(s: Spelling) -> bool:
    """Shape of known sizes, or of some of its axes."""
    start, end = s.node.attributes.get("start", 0), s.node.attributes.get("end")
    sizes = s.shape[start:] if end is None else s.shape[start:end]
    return bool(sizes) and _constant(s, np.array(sizes, np.int64))


def size(s: Spelling) -> bool:
    """Size: how many elements there are."""
    return _constant(s, np.array(prod(s.shape), np.int64))


def eye_like(s: Spelling) -> bool:
    """EyeLike: ones on a diagonal."""
    number = s.node.attributes.get("dtype")
    dtype = s.work.dtype(s.node.inputs[0]) if number is None else dtype_name(number)
    if len(s.shape) != 2 or dtype not in _DTYPES:
        return False
    return _constant(s, np.eye(*s.shape, k=s.node.attributes.get("k", 0), dtype=np.dtype(dtype)))


def _constant(s: Spelling, array: Any) -> bool:
    name = s.constant("known", array)
    s.add("Identity", [name], array.shape, dtype=str(array.dtype))
    return s.end()
