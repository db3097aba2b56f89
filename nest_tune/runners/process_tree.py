"""Ending a process with everything that it has started, and what that has started in turn.

A worker runs code of users, which may start simulators, compilers, servers. Killing the worker
alone would leave them. So a worker has a session of its own, and on Linux it adopts what its
descendants leave behind: nothing escapes by a parent that ends first. Where the worker itself died,
its session tells what was its, and so does a mark in the environment that it passes on. The tree is
stopped from the top before it is killed, so that it does not grow meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_MARK = "NEST_TUNE_WORKER"
"""Variable with the process number of the worker that a process descends from."""


def lead_tree() -> None:
    """Makes this process the root of a tree that :func:`kill_tree` finds."""
    os.setsid()
    os.environ[_MARK] = str(os.getpid())
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_tree(process: int) -> None:
    """Kills a process that has called :func:`lead_tree`, and all its descendants."""
    _send(process, signal.SIGSTOP)
    kill_descendants(process)
    _send(process, signal.SIGKILL)


def kill_descendants(process: int) -> None:
    """Kills all descendants of a process, which must not start more meanwhile; where it has ended
    already, what is left of its session and what that has started."""
    stopped: dict[int, None] = {}
    # A stopped process starts none, so that the search ends; one that was just being started is
    # found the next time round.
    while fresh := [child for child in _descendants(process) if child not in stopped]:
        for child in fresh:
            _send(child, signal.SIGSTOP)
            stopped[child] = None
    for child in stopped:
        _send(child, signal.SIGKILL)


def children_of(process: int) -> set[int]:
    """Processes that a living process has started itself and that have not ended."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*") if _LINUX else ():
        with suppress(OSError, ValueError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX" and int(parent) == process:
                found.add(int(folder.name))
    return found


@contextmanager
def nothing_left_by_failure() -> Iterator[None]:
    """Ends what the block has started, and its descendants, where the block fails."""
    before = children_of(os.getpid())
    try:
        yield
    except BaseException:
        for child in sorted(children_of(os.getpid()) - before):
            kill_descendants(child)
            _send(child, signal.SIGKILL)
        raise


def _descendants(process: int) -> list[int]:
    """Living descendants, and what its session or its mark says is its; parents first."""
    children: dict[int, list[int]] = {}
    mark = f"{_MARK}={process}".encode()
    for folder in Path("/proc").glob("[0-9]*") if _LINUX else ():
        with suppress(OSError, ValueError):  # it has just ended
            # The command, in parentheses, may hold anything.
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            child = int(folder.name)
            if state not in "ZX" and child != process:
                is_its = int(session) == process or mark in _environment(folder)
                children.setdefault(process if is_its else int(parent), []).append(child)
    found, queue = [], [process]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _environment(folder: Path) -> list[bytes]:
    """Variables that a process began with; none of those of other users."""
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)
