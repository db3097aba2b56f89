"""Standard streams that are closed, full or read by nobody: a command never fails in the middle.

What cannot be told is lost; whether results on standard output were is known at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO


class TolerantStream:
    """A text stream whose failures are remembered, not raised.

    Args:
        stream: What is written to.

    Attributes:
        failure: The first failure; nothing is written after it.
        has_lost: Whether something was to be written that could not be.
    """

    def __init__(self, stream: TextIO, failure: OSError | None = None) -> None:
        self._stream = stream
        self.failure = failure
        self.has_lost = False

    def write(self, text: str) -> int:
        if self.failure is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error)
        elif text:
            self.has_lost = True
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error
        self.has_lost = True
        # The interpreter, and whatever the process starts, must not try it again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def stand_in() -> tuple[TolerantStream, TolerantStream]:
    """Makes standard output and standard error tolerant, and opens the streams that are closed.

    A descriptor from 0 to 2 that is free would be given to the next file that is opened, and that
    file, perhaps a database, would get what others print.

    Returns:
        Standard output and standard error.
    """
    closed = {number for number in range(3) if not _is_open(number)}
    for number in sorted(closed):
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    made = []
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        failure = OSError(9, "it is closed") if number in closed else None
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        made.append(TolerantStream(stream, failure))
    out, err = made
    sys.stdout, sys.stderr = out, err
    return out, err


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
