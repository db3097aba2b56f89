"""Commands that go on where they stopped when they are given again: what they keep."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

from nest_tune.cli.output import without_password

_KEPT: dict[tuple[str, ...], str] = {
    ("task", "tune"): "measurements",
    ("quantize", "search"): "accuracies",
}
"""What is kept, by the words of the command."""


_ABOUT_STUDIES = re.compile(r"nest-tune study (?!start\b|import\b)[a-z]+\b")


def say_what_is_kept(arguments: Sequence[str]) -> None:
    """Says on standard error, where a command was broken off, how to go on with it.

    Args:
        arguments: Of the command line. Studies have names and say it themselves.
    """
    kept = _KEPT.get(tuple(arguments[:2]))
    if kept is not None:
        words = [_shown(argument) for argument in arguments]
        print(f"{kept} are kept; go on with: nest-tune {shlex.join(words)}", file=sys.stderr)


def at_the_storage(hint: str, arguments: Sequence[str]) -> str:
    """A hint whose commands about studies open the storage that the command at hand was given.

    Args:
        hint: Of an error.
        arguments: Of the command line.
    """
    given = ""
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if option == "--storage":
            given = value
        elif option.startswith("--storage="):
            given = option.removeprefix("--storage=")
    if not given or "://" in hint or "--help" in hint:
        return hint
    place = f" --storage {shlex.quote(without_password(given))}"
    return _ABOUT_STUDIES.sub(lambda found: found.group() + place, hint)


def _shown(argument: str) -> str:
    option, equals, value = argument.rpartition("=") if argument[:2] == "--" else ("", "", argument)
    return f"{option}{equals}{without_password(value)}" if "://" in value else argument
