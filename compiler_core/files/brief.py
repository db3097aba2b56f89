"""Values as messages show them: short, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 80
_MOST = 3
_FEW = 20
_WRITTEN = ("builtins", "numpy", "pathlib")


def brief(value: Any) -> str:
    """A value in at most about a line: an array by its type and shape, a collection of what is no
    text or number by its first entries, other objects by their type, everything else as Python
    writes it, cut where it is long.

    Args:
        value: Anything, of any size.
    """
    if type(value) is bytes:
        return f"{len(value)} bytes"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and not isinstance(value, type):
        sizes = ", ".join(map(str, shape)) if isinstance(shape, tuple) else str(shape)
        return f"{type(value).__name__} {dtype}[{sizes}]"
    if isinstance(value, Mapping) and not _is_plain(value.values()):
        entries = [f"{_cut(key)}: {_entry(own)}" for key, own in list(value.items())[:_MOST]]
        return f"{type(value).__name__} of {len(value)} ({_listed(entries, len(value))})"
    if isinstance(value, Sequence) and not isinstance(value, str) and not _is_plain(value):
        entries = [_entry(own) for own in value[:_MOST]]
        return f"{type(value).__name__} of {len(value)} ({_listed(entries, len(value))})"
    return _cut(value)


def _is_plain(values: Any) -> bool:
    return len(values) <= _FEW and all(isinstance(own, str | int | float | None) for own in values)


def _entry(value: Any) -> str:
    """An entry of a collection; what it holds itself is counted, however deep it goes."""
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        return f"{type(value).__name__} of {len(value)}"
    return brief(value)


def _listed(entries: list[str], count: int) -> str:
    return ", ".join([*entries, *(["…"] if count > len(entries) else [])])


def _cut(value: Any) -> str:
    if type(value).__module__ not in _WRITTEN:  # as large as somebody made it
        return f"an object of type {type(value).__name__}"
    try:
        text = repr(value)
    except Exception:  # an integer of more digits than Python writes, or a class of somebody's
        name = type(value).__name__
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name} too long to show"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
