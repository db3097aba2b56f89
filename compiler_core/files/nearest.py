"""Hints that name what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(value: str, known: Iterable[str]) -> str | None:
    """A hint with the known name that is most like a value; ``None`` where none is near."""
    near = get_close_matches(value, list(known), 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else None
