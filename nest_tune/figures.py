"""How a quantity is written for people: one form for each, wherever it stands."""

from __future__ import annotations

from math import floor, isfinite, log10

ABSENT = "–"
"""What stands for a value that there is none of."""

_COUNTS = ("npu_cycles", "cycles", "instructions", "macs", "launches")
_AMOUNTS = ("_ms", "_mj", "_us", "_s")


def figure(value: float | None, metric: str, *, signed: bool = False) -> str:
    """A metric's value, or how much it differs from another.

    Counts and bytes are whole numbers in groups of three digits; times and energies have three
    decimals, or as many as show three digits; shares such as an accuracy have four, decibels one;
    what else is large has four digits, or no decimals.

    Args:
        value: ``None`` where there is none.
        metric: Its name, with the unit at its end: ``latency_ms``.
        signed: Whether a plus is written.
    """
    plus = "+" if signed else ""
    if value is None or not isfinite(value):
        return ABSENT if value is None else str(value)
    if metric.endswith("_bytes") or metric in _COUNTS:
        return f"{value:{plus},.0f}"
    if "_db" in metric:
        return f"{value:{plus}.1f}"
    if metric.endswith(_AMOUNTS):
        places = 3 if value == 0 or abs(value) >= 0.1 else 2 - floor(log10(abs(value)))
        return f"{value:{plus},.{places}f}"
    if abs(value) < 10:
        return f"{value:{plus}.4f}"
    return f"{value:{plus},.4g}" if abs(value) < 9999.5 else f"{value:{plus},.0f}"


def percent(value: float, places: int = 1, *, signed: bool = False) -> str:
    """A share in per cent, 1 being the whole: ``24.6 %``; a change with its sign: ``+1.2 %``."""
    return f"{100 * value:{'+' if signed else ''}.{places}f} %"


def duration(seconds: float) -> str:
    """A time that passes: ``48 s``, ``2 min 05 s``, ``14 min``, ``1.5 h``."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s"
    return f"{minutes} min" if whole < 5400 else f"{whole / 3600:.1f} h"
