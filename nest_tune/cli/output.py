"""What commands print and write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from compiler_core.files.visible import visible
from nest_tune.terminal import visible_console

if TYPE_CHECKING:
    from rich.console import Console


class ExitCode(IntEnum):
    """Exit codes beside those of :class:`~compiler_core.errors.NestTuneError` and its kinds."""

    DONE = 0
    FAILED = 1
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


def version() -> str:
    """Version of the installed distribution; ``unknown`` when run from a bare source tree."""
    # Costs as much as a tenth of the whole start, so only where it is asked for.
    from importlib import metadata

    try:
        return metadata.version("nest-tune")
    except metadata.PackageNotFoundError:
        return "unknown"


def console() -> Console:
    """A console on standard output: wide where there is no terminal, no markup in its text."""
    width = None if sys.stdout.isatty() else 140
    return visible_console(width=width, soft_wrap=False, markup=False, emoji=False, highlight=False)


def without_password(url: str) -> str:
    """A database as it may be shown."""
    import sqlalchemy

    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def progress(line: str) -> None:
    """Tells on standard error what is being done."""
    print(visible(line), file=sys.stderr, flush=True)


def say(line: str, *, aside: bool = False) -> None:
    """Prints one line that holds names from outside.

    Args:
        line: Without its end.
        aside: To standard error.
    """
    print(visible(line), file=sys.stderr if aside else sys.stdout)


def print_json(document: str, body: Mapping[str, Any]) -> None:
    """Prints one JSON document whose first key names its schema, ``nest-tune/<document>/1``."""
    print(json.dumps({"schema": f"nest-tune/{document}/1", **body}, indent=2, allow_nan=False))


def print_error(kind: str, message: str, *, hint: str | None = None, as_json: bool) -> None:
    """Reports an error for people and, where JSON was asked for, for programs too."""
    say(f"error: {_one_line(message)}", aside=True)
    if hint:
        say(f"hint: {_one_line(hint)}", aside=True)
    if as_json:
        print_json("error", {"error": {"class": kind, "message": message, "hint": hint}})


def _one_line(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines()) if "\n" in text else text
