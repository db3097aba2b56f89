"""How a quantity is written for people: one form for each, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10

ABSENT = "–"
"""What stands for a value that there is none of."""

_COUNTS = ("npu_cycles", "cycles", "instructions", "macs", "launches")
_AMOUNTS = ("_ms", "_mj", "_us", "_s")
_MORE = 3
"""Decimals beyond the usual ones at most that tell values apart."""


def figure(value: float | None, metric: str, *, signed: bool = False, more: int = 0) -> str:
    """A metric's value, or how much it differs from another.

    Counts and bytes are whole numbers in groups of three digits; times and energies have three
    decimals, or as many as show three digits; shares such as an accuracy have four, decibels one;
    what else is large has four digits, or no decimals.

    Args:
        value: ``None`` where there is none.
        metric: Its name, with the unit at its end: ``latency_ms``.
        signed: Whether a plus is written.
        more: Decimals beyond the usual ones.
    """
    plus = "+" if signed else ""
    if value is None or not isfinite(value):
        return ABSENT if value is None else str(value)
    if metric.endswith("_bytes") or metric in _COUNTS:
        return f"{value:{plus},.0f}"
    if "_db" in metric:
        return f"{value:{plus}.{1 + more}f}"
    if metric.endswith(_AMOUNTS):
        places = 3 if value == 0 or abs(value) >= 0.1 else 2 - floor(log10(abs(value)))
        return f"{value:{plus},.{places + more}f}"
    if abs(value) < 10:
        return f"{value:{plus}.{4 + more}f}"
    return f"{value:{plus},.{4 + more}g}" if abs(value) < 9999.5 else f"{value:{plus},.{more}f}"


def figures(values: Sequence[float | None], metric: str) -> list[str]:
    """Values of one metric side by side: where two that differ would look the same, all have as
    many more decimals as tell these apart, three at most.

    Args:
        values: ``None`` where there is none.
        metric: As of :func:`figure`.
    """
    different = len({value for value in values if value is not None})
    usual = [figure(value, metric) for value in values]
    best, most = usual, _count(usual)
    for more in range(1, _MORE + 1):
        if most >= different:
            break
        shown = [figure(value, metric, more=more) for value in values]
        if _count(shown) > most:
            best, most = shown, _count(shown)
    return best


def _count(shown: Sequence[str]) -> int:
    return len({text for text in shown if text != ABSENT})


def percent(value: float, places: int = 1, *, signed: bool = False) -> str:
    """A share in per cent, 1 being the whole: ``24.6 %``; a change with its sign: ``+1.2 %``."""
    return f"{100 * value:{'+' if signed else ''},.{places}f} %"


def change(share: float, places: int = 1) -> str:
    """By how much something differs, in per cent, 1 being twice as much: ``-24.6 %``; below one per
    cent with two decimals, and not with more: ``+0.32 %``, ``less than +0.01 %``, ``0 %``."""
    size = abs(100 * share)
    if not share:
        return "0 %"
    if size < 0.005:
        return f"less than {'+' if share > 0 else '-'}0.01 %"
    return percent(share, places if size >= 1 else 2, signed=True)


def duration(seconds: float) -> str:
    """A time that passes: ``48 s``, ``2 min 05 s``, ``14 min``, ``1.5 h``."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s"
    return f"{minutes} min" if whole < 5400 else f"{whole / 3600:.1f} h"
