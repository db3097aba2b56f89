"""Arguments that hold nothing: mostly variables of a shell that nobody set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compiler_core.errors import InputError

_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9-]*")


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses empty arguments and values of options: each would be taken for a default that nobody
    asked for, or for the working folder.

    Args:
        arguments: Of the command line.

    Raises:
        InputError: Names the first one.
    """
    before = ""
    for argument in arguments:
        if not holds_something(argument):
            option = argument.rstrip("=") or before
            where = f"{option}: " if _OPTION.fullmatch(option) else "an argument "
            raise InputError(
                f"{where}is empty",
                hint="if it is a variable of the shell, set it; a default needs no option",
            )
        before = argument


def holds_something(argument: str) -> bool:
    """Whether an argument is neither empty nor an option with an empty value."""
    return bool(argument) and not (argument[-1] == "=" and _OPTION.fullmatch(argument[:-1]))
