"""Threads that stay where they are: one that moves to another core leaves its caches behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Keeps the calling thread, and threads that it starts, on as many cores as there are threads.

    Sessions have to be opened within: the runtime's threads stay where they were started. Where the
    system cannot do this, nothing is done.

    Args:
        threads: Of what runs within.

    Yields:
        The cores; empty where nothing is kept.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    allowed = os.sched_getaffinity(0)
    cores = chosen_cores(sorted(allowed), threads, _siblings)
    try:
        os.sched_setaffinity(0, cores)
    except OSError:  # a sandbox that forbids it
        yield ()
        return
    try:
        yield tuple(sorted(cores))
    finally:
        os.sched_setaffinity(0, allowed)


def chosen_cores(allowed: list[int], threads: int, siblings: Callable[[int], set[int]]) -> set[int]:
    """The last ones, of which no two are halves of one core as far as that goes: the first ones
    serve interrupts.

    Args:
        allowed: Logical cores.
        threads: How many are wanted; at least one, at most all are taken.
        siblings: From a core to the cores that are the same piece of hardware.
    """
    alone: list[int] = []
    halves: list[int] = []
    taken: set[int] = set()
    for core in reversed(allowed):
        (halves if core in taken else alone).append(core)
        taken |= siblings(core)
    return set((alone + halves)[: max(1, threads)])


def _siblings(core: int) -> set[int]:
    try:
        text = Path(_SIBLINGS.format(core)).read_text().strip()
        return {number for part in text.split(",") for number in _range(part)}
    except (OSError, ValueError):
        return {core}


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
