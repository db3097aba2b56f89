"""Names of places in plans and configurations.

A place is called after its unit; behind the unit's name may stand one of its cores (a number), a
way of cutting across them (a dash and a word, see :mod:`compiler_core.units.ways`) and a number
format (a colon and a word). A unit that no target file names is called after its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from compiler_core.units.registry import host_kind

CPU = host_kind().name
"""The CPU of every target."""

CPU_INT8 = f"{CPU}:int8"
"""The CPU of every target, on the integers of the unit beside it."""

_BEHIND = re.compile(r"([0-9]|[1-9][0-9])?(-[a-z]+)?(:[a-z0-9]+)?")
_PLACE = re.compile(r"[a-z][a-z0-9-]{0,63}(:[a-z0-9]{1,31})?")


def is_place(name: str) -> bool:
    """Whether some target may have a place of that name."""
    return _PLACE.fullmatch(name) is not None


def is_on_cpu(place: str) -> bool:
    """Whether a place is the CPU, in whatever number format."""
    return place == CPU or place.startswith(f"{CPU}:")


def unit_of(place: str, units: Iterable[str]) -> str | None:
    """The unit that a place is called after, of those named; ``None`` where it is none of them."""
    return _unit_of(place, tuple(units))


@lru_cache(maxsize=4096)
def _unit_of(place: str, units: tuple[str, ...]) -> str | None:
    fitting = [
        unit
        for unit in units
        if place.startswith(unit) and _BEHIND.fullmatch(place.removeprefix(unit))
    ]
    return max(fitting, key=len, default=None)
