"""What commands print and write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.files.visible import visible
from nest_tune.redaction import redact, redacted
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


_UNBOUNDED = 100_000
"""Characters of a line where no terminal bounds it."""


def console() -> Console:
    """A console on standard output without markup; files and pipes get lines of any length."""
    width = None if sys.stdout.isatty() else _UNBOUNDED
    return visible_console(width=width, soft_wrap=False, markup=False, emoji=False, highlight=False)


def without_password(url: str) -> str:
    """A storage's URL as it may be shown, whether it is one or not."""
    from nest_tune.records.storage_url import StorageUrl

    try:
        return str(StorageUrl(url))
    except InputError:
        return redact(url)


_COUNTED = re.compile(r"(.+): ([\d,]+) of ([\d,]+)\b")
_COUNT_EVERY_S = 2.0
_counted_s: dict[str, float] = {}


def progress(line: str) -> None:
    """Tells on standard error what is being done; of ``what: 3 of 8`` not every count."""
    if counted := _COUNTED.match(line):
        what, done, total = counted.groups()
        now = time.monotonic()
        if done != total and now - _counted_s.get(what, -_COUNT_EVERY_S) < _COUNT_EVERY_S:
            return
        _counted_s[what] = now
    print(redact(visible(line)), file=sys.stderr, flush=True)


def say(line: str, *, aside: bool = False) -> None:
    """Prints one line that holds names from outside.

    Args:
        line: Without its end.
        aside: To standard error.
    """
    print(redact(visible(line)), file=sys.stderr if aside else sys.stdout)


def print_traceback() -> None:
    """The traceback of the error that is being handled, without secrets."""
    print(redact(traceback.format_exc()), file=sys.stderr, end="")


def print_json(document: str, body: Mapping[str, Any]) -> None:
    """Prints one JSON document whose first key names its schema, ``nest-tune/<document>/1``."""
    whole = {"schema": f"nest-tune/{document}/1", **redacted(body)}
    print(json.dumps(whole, indent=2, allow_nan=False))


def print_error(kind: str, message: str, *, hint: str | None = None, as_json: bool) -> None:
    """Reports an error for people and, where JSON was asked for, for programs too."""
    say(f"error: {_one_line(message)}", aside=True)
    if hint:
        say(f"hint: {_one_line(hint)}", aside=True)
    if as_json:
        print_json("error", {"error": {"class": kind, "message": message, "hint": hint}})


def _one_line(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines()) if "\n" in text else text


def launches_text(count: int) -> str:
    """How often the CPU starts a program."""
    return f"{count:,} launch{'' if count == 1 else 'es'}"
