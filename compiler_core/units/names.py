"""Names of places in plans and configurations, whatever targets there are.

A place is called after its unit, and a unit that no target file names is called after its kind:
the CPU; any unit of a kind; one of its cores (a number behind it); a way of cutting across them (a
dash and a word behind it, see :mod:`compiler_core.units.ways`); a number format (a colon and a word
behind it).
"""

from __future__ import annotations

import re
from functools import lru_cache

from compiler_core.units.registry import host_kind, unit_kinds

CPU = host_kind().name
"""The CPU of every target."""

_BEHIND = re.compile(r"([0-9]|[1-9][0-9])?(-[a-z]+)?(:[a-z0-9]+)?")


def is_unit(name: str) -> bool:
    """Whether some target may have a place of that name."""
    return _kind_of(name, unit_kinds()) is not None


def kind_of(unit: str) -> str:
    """The kind that a place is named after, which quantization and the layout of tensors depend on;
    the name itself where it is named after none."""
    return _kind_of(unit, unit_kinds()) or unit


def names_of_units() -> str:
    """All names, as errors list them."""
    others = ", ".join(kind for kind in unit_kinds() if kind != CPU)
    return f"{CPU}, {others} and, with several cores, those with a number or a way of cutting"


@lru_cache(maxsize=1024)
def _kind_of(name: str, kinds: tuple[str, ...]) -> str | None:
    fitting = [
        kind
        for kind in kinds
        if name.startswith(kind) and _BEHIND.fullmatch(name.removeprefix(kind))
    ]
    return max(fitting, key=len, default=None)
