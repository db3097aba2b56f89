"""Puts a complete folder in the place of another, so that a kill at any moment loses neither.

On Linux the two folders change places in one system call (``renameat2`` with
``RENAME_EXCHANGE``). Where the system or the file system cannot do that, the old folder waits
under a hidden name between two renames; :func:`restore` finds it there after a kill.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def replace_folder(fresh: Path, folder: Path) -> None:
    """Moves ``fresh`` to ``folder``; what was there before is deleted or lies at ``fresh``.

    Args:
        fresh: A complete folder on the file system of ``folder``.
        folder: A folder, or a free name.

    Raises:
        OSError: ``folder`` is as it was.
    """
    restore(folder)
    if folder.exists() and _exchanged(fresh, folder):
        return
    waiting = _waiting(folder)
    if waiting.exists():
        # Of a writer that was killed after both renames; a complete package is in place.
        shutil.rmtree(waiting)
    if folder.exists():
        folder.rename(waiting)
    try:
        fresh.rename(folder)
    except BaseException:
        restore(folder)
        raise
    shutil.rmtree(waiting, ignore_errors=True)


def restore(folder: Path) -> None:
    """Brings the old folder back where a kill left the place of ``folder`` empty.

    Raises:
        OSError: There is one, and it cannot be renamed.
    """
    if os.path.lexists(folder):
        return
    waiting = _waiting(folder)
    if waiting.is_dir():
        waiting.rename(folder)


def _waiting(folder: Path) -> Path:
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}.replaced")


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two changed places; if not, nothing happened."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return bool(rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)
