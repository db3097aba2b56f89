"""Files that appear whole under their name, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_written


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
        ResourceError: The disk is full.
    """
    try:
        # Unlike Path.resolve, realpath answers for links in a circle too.
        path = Path(os.path.realpath(path))
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                write(stream)
            # mkstemp makes private files; a result is as readable as any other new file.
            mask = os.umask(0o077)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_be_written(path, error) from error
