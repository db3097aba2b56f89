"""Signals that end a command: it cleans up, says how to go on, and ends with 143."""

from __future__ import annotations

import signal
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""A request to end, and the terminal's end."""


class Terminated(BaseException):
    """One of :data:`ENDING`, raised where the program stands so that files are cleaned up."""


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    # A second one, as service managers and closing terminals send, must not break off what the
    # first has begun: saving.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise Terminated


def end_by_signals() -> None:
    """Has the ending signals raise :class:`Terminated`; what a caller ignores (``nohup``) stays
    ignored."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_terminated)
