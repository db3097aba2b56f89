"""Commands that go on where they stopped when they are given again: what they keep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from nest_tune.cli.output import without_password

_KEPT: dict[tuple[str, ...], str] = {
    ("task", "tune"): "measurements",
    ("quantize", "search"): "accuracies",
}
"""What is kept, by the words of the command."""


def say_what_is_kept(arguments: Sequence[str]) -> None:
    """Says on standard error, where a command was broken off, how to go on with it.

    Args:
        arguments: Of the command line. Studies have names and say it themselves.
    """
    kept = _KEPT.get(tuple(arguments[:2]))
    if kept is not None:
        words = [_shown(argument) for argument in arguments]
        print(f"{kept} are kept; go on with: nest-tune {shlex.join(words)}", file=sys.stderr)


def _shown(argument: str) -> str:
    option, equals, value = argument.rpartition("=") if argument[:2] == "--" else ("", "", argument)
    return f"{option}{equals}{without_password(value)}" if "://" in value else argument
