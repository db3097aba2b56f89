"""How many calls share a task: cheap ones many, so that what a task costs does not matter."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from nest_tune.runners.runner import Work

_BATCH_S = 0.25
"""Work that a task should hold."""
_MOST_PER_BATCH = 64
_WEIGHT = 0.3
"""Of the newest task in what is known of a function's pace."""


@dataclass(frozen=True)
class Call:
    """A call on its way.

    Attributes:
        work: What is called.
        is_alone: Whether it must not share a task: a worker died with it among others.
        losses: Nodes and objects that it lost.
    """

    work: Work
    is_alone: bool = False
    losses: int = 0


class Pace:
    """Seconds per call by function, learnt from the answers."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def learn(self, function: str, mean_s: float) -> None:
        """Takes the mean time of a task's calls."""
        known_s = self._seconds.get(function, mean_s)
        self._seconds[function] = (1 - _WEIGHT) * known_s + _WEIGHT * mean_s

    def next_batch(self, waiting: deque[Call], free: int) -> tuple[Call, ...]:
        """Takes calls of one kind from the front, together about :data:`_BATCH_S` long, and never
        so many that others would be idle for want of work.

        Args:
            waiting: Not empty; the batch is removed from it.
            free: CPUs that have nothing to do.
        """
        first = waiting.popleft()
        work = first.work
        pace_s = self._seconds.get(work.function)
        size = 1
        if pace_s is not None and not first.is_alone:
            share = math.ceil((len(waiting) + 1) * work.needs.cpus / free)
            size = max(1, min(_MOST_PER_BATCH, int(_BATCH_S / max(pace_s, 1e-6)), share))
        batch = [first]
        while waiting and len(batch) < size:
            following = waiting[0]
            same = following.work.function == work.function and following.work.needs == work.needs
            if following.is_alone or not same:
                break
            batch.append(waiting.popleft())
        return tuple(batch)
