"""Turns: what is timed on one machine at the same time is in one another's way."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = "this machine"
"""The name under which this machine is held while something is timed on it."""

_LOOK_S = 0.05


@contextmanager
def first_free(names: Sequence[str]) -> Iterator[int]:
    """The index of a name that no other process of this user on this machine holds, until the end
    of the block; waits for one. What a process held that has ended is free.

    Where the system has no locks on files, the first one is taken.

    Args:
        names: Of machines, one at least.
    """
    while True:
        for index, name in enumerate(names):
            try:
                handle = os.open(_path(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError:  # a folder that cannot be written, or another one's file
                yield index
                return
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            except OSError:
                os.close(handle)
                yield index
                return
            try:
                yield index
            finally:
                os.close(handle)
            return
        time.sleep(_LOOK_S)


def _path(name: str) -> Path:
    key = hashlib.sha256(name.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"nest-tune-clock-{os.getuid()}-{key}.lock"
