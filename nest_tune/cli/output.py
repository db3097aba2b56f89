"""What commands print and write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from compiler_core.errors import InputError

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
    """A console on standard output: wide where there is no terminal, text as it stands."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 140
    return Console(width=width, soft_wrap=False, markup=False, emoji=False, highlight=False)


def without_password(url: str) -> str:
    """A database as it may be shown."""
    import sqlalchemy

    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def print_json(document: str, body: Mapping[str, Any]) -> None:
    """Prints one JSON document whose first key names its schema, ``nest-tune/<document>/1``."""
    print(json.dumps({"schema": f"nest-tune/{document}/1", **body}, indent=2, allow_nan=False))


def print_error(kind: str, message: str, *, hint: str | None = None, as_json: bool) -> None:
    """Reports an error for people and, where JSON was asked for, for programs too."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    if as_json:
        print_json("error", {"error": {"class": kind, "message": message, "hint": hint}})


def require_writable(path: Path | None, option: str) -> None:
    """Checks before any work that a result can be written to ``path``.

    Raises:
        InputError: Its folder does not exist or cannot be written, or it is a folder, a device or
            a pipe itself.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; a file name is needed")
    if path.exists() and not path.is_file():
        raise InputError(
            f"{option} {path}: is a device or a pipe; a file name is needed",
            hint="results appear whole or not at all, which only a file can do",
        )
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: the folder {path.parent} cannot be written")


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file that appears under its name only when it is complete.

    A symbolic link stays one: the file that it leads to is replaced.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        # Unlike Path.resolve, realpath answers for links in a circle too.
        path = Path(os.path.realpath(path))
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                write(stream)
            # mkstemp makes private files; a result is as readable as any other new file.
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
