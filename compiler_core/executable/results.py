"""Outputs of a run as named arrays that a file can hold, and inputs out of such arrays.

| value | arrays |
|---|---|
| a tensor, equal in shape for all runs | ``name`` |
| a tensor whose shape differs from run to run | ``name/0``, ``name/1`` …: one array per run |
| a sequence | ``name/0``, ``name/1`` …: its elements; several runs: ``name/RUN/ELEMENT`` |
| an absent optional, an empty sequence | none |
| text | ``<U`` arrays |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.containers import is_objects

Arrays = dict[str, npt.NDArray[Any]]


def flat_outputs(outputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Arrays of numbers and of text by name: see the table above."""
    found: Arrays = {}
    for name, value in outputs.items():
        if not is_objects(value):
            found[name] = as_text(value)
        elif len(value) == 1:
            found.update(_named(name, value[0]))
        else:
            for run, item in enumerate(value):
                found.update(_named(f"{name}/{run}", item))
    return found


def as_text(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Text in NumPy's own type; numbers as they are."""
    if value.dtype != object:
        return value
    texts = [
        item.decode(errors="replace") if isinstance(item, bytes) else str(item)
        for item in value.flat
    ]
    return np.array(texts, dtype=str if texts else "U1").reshape(value.shape)


def _named(name: str, value: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _named(f"{name}/{number}", item)
    elif value is not None:
        yield name, as_text(np.asarray(value))
