"""What a trial decides otherwise than the default, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOGETHER = 3
"""So many decisions of one space with one value are told as one."""


def decisions_text(difference: Mapping[str, Any], most: int, where: str) -> str:
    """Decisions with their values; ``nothing`` without any.

    Args:
        difference: Value by decision, such as ``partition.conv1``; those of one space that have one
            value are told together, as ``partition.*=vta (12 times)``.
        most: How many parts are told.
        where: Shows the others.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for name, value in difference.items():
        alike.setdefault((name.partition(".")[0], str(value)), []).append(name)
    told = []
    for (space, value), names in alike.items():
        if len(names) >= _TOGETHER:
            told.append(f"{space}.*={value} ({len(names)} times)")
        else:
            told += [f"{name}={value}" for name in names]
    rest = [f"and {len(told) - most} more ({where})"] if len(told) > most else []
    return ", ".join(told[:most] + rest) or "nothing"
