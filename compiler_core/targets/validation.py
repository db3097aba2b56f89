"""Values of target files held against the sections of the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError
from compiler_core.targets.derived import Place
from compiler_core.targets.target_file import Leaf, shown, table_name


def values_below(leaves: Mapping[Place, Leaf], root: Place) -> dict[str, Any] | None:
    """Values below a place as nested tables; ``None`` where there are none."""
    tree: dict[str, Any] | None = None
    for place, leaf in leaves.items():
        if place[: len(root)] != root:
            continue
        node = tree = tree if tree is not None else {}
        for key in place[len(root) : -1]:
            node = node.setdefault(key, {})
        node[place[-1]] = leaf.value
    return tree


def refusal(
    errors: Sequence[tuple[Place, Any]], leaves: Mapping[Place, Leaf], label: str
) -> InputError:
    """What is said of values that pydantic refuses, each with its place.

    Args:
        errors: At least one.
        leaves: Where the values stand.
        label: Of the most derived file.
    """
    (place, first), *others = errors
    found = leaves.get(place)
    reason = str(first["msg"]).removeprefix("Value error, ")
    if found is not None:
        message = f"{found.file}: {'.'.join(place)} = {shown(found.value)}: {reason}"
    elif first["type"] == "missing":
        message = f"{label}: {'.'.join(place)} is missing, here and in what it inherits from"
    else:
        message = f"{label}: {table_name(place)}: {reason}"
    if others:
        message += f" (and {len(others)} more)"
    return InputError(message, hint="nest-tune target show vta")
