"""Digests of frozen values: the key under which a result is found again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from compiler_core.files.plain import is_written


def digest(value: Any, length: int = 16) -> str:
    """Returns the first ``length`` hex digits of the SHA-256 of a value's canonical text.

    Args:
        value: Dataclasses, enums, arrays, tuples, mappings and plain values, nested at will.
        length: Hex digits, at most 64.

    Raises:
        TypeError: Something inside ``value`` has no canonical text.
    """
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _canonical(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        members = {
            field.name: _canonical(getattr(value, field.name))
            for field in fields(value)
            if is_written(field, value)
        }
        return {"type": type(value).__name__, **members}
    if isinstance(value, Enum):
        return _canonical(value.value)
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): _canonical(member) for key, member in value.items()}
    if isinstance(value, (tuple, list)):
        return [_canonical(member) for member in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"no canonical text for {type(value).__name__}")
