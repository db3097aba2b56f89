"""Names of places in plans and configurations.

A place is called after its unit; behind the unit's name may stand one of its cores (a number), a
way of cutting across them (a dash and a word, see :mod:`compiler_core.units.ways`) and a number
format (a colon and a word). A unit that no target file names is called after its kind.

An operator that several units compute together has a place that lists them with the output channels
of each, in the order in which these lie in memory: ``vta/32+int4/96``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from compiler_core.units.registry import host_kind
from compiler_core.units.ways import SUFFIX

CPU = host_kind().name
"""The CPU of every target."""

CPU_INT8 = f"{CPU}:int8"
"""The CPU of every target, on the integers of the unit beside it."""

_BEHIND = re.compile(rf"{SUFFIX.pattern}(:[a-z0-9]+)?")
_PLACE = re.compile(r"[a-z][a-z0-9-]{0,63}(:[a-z0-9]{1,31})?")
_SHARE = re.compile(r"([a-z][a-z0-9-]{0,63})/([1-9][0-9]{0,8})")

Shares = tuple[tuple[str, int], ...]
"""Units and how many output channels each computes."""


def is_place(name: str) -> bool:
    """Whether some target may have a place of that name."""
    return _PLACE.fullmatch(name) is not None or bool(shares_of(name))


def shares_of(place: str) -> Shares:
    """Units and channels of an operator that several compute together; none of other places."""
    found = [_SHARE.fullmatch(part) for part in place.split("+")]
    shares = tuple((part[1], int(part[2])) for part in found if part is not None)
    return shares if len(shares) == len(found) > 1 else ()


def shared_place(shares: Shares) -> str:
    """The inverse of :func:`shares_of`; a single unit's name stands for all channels."""
    if len(shares) == 1:
        return shares[0][0]
    return "+".join(f"{unit}/{channels}" for unit, channels in shares)


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
