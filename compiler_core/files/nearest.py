"""Hints that name what was probably meant."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import PurePath


def did_you_mean(value: str, known: Iterable[str]) -> str | None:
    """A hint with the known name that is most like a value, whatever letters are capitals; ``None``
    where none is near."""
    names = {name.casefold(): name for name in known}
    near = get_close_matches(value.casefold(), list(names), 1, 0.5)
    return f"did you mean {names[near[0]]!r}?" if near else None


def named_in_module(reference: str) -> str | None:
    """A hint to what ``module:name`` may mean that names nothing: the file of a module, or another
    of its names; ``None`` where nothing is near.

    Args:
        reference: As somebody wrote it.
    """
    module, _, name = reference.partition(":")
    path = PurePath(module.replace("\\", "/"))
    if path.suffix == ".py" or len(path.parts) > 1:
        stem = path.name.removesuffix(".py")
        near = f"did you mean {f'{stem}:{name}'!r}?"
        folder = str(path.parent)
        return near if folder == "." else f"{near} from the folder of that file"
    held = sys.modules.get(module)
    known = [] if held is None else [key for key in vars(held) if not key.startswith("_")]
    return did_you_mean(reference, [f"{module}:{key}" for key in known])
