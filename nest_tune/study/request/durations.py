"""Durations as users write them."""

from __future__ import annotations

import re

from compiler_core.errors import InputError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str, where: str) -> float:
    """``90s``, ``10m`` or ``2h`` in seconds.

    Raises:
        InputError: It reads otherwise or is 0.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < 1e9:
        raise InputError(f"{where} {text!r}: a duration such as 90s, 10m or 2h is needed")
    return seconds


def parse_timeout(text: str | None, where: str) -> float | None:
    """A duration in seconds; ``None`` where none was given.

    Raises:
        InputError: It reads otherwise or is 0.
    """
    return None if text is None else parse_duration(text, where)
