"""Searches that ask whoever drives them for measurements, so that many go on side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from compiler_core.units.unit import TaskSchedule, TaskWorkload
from nest_tune.tuning.measure import Measurement

T = TypeVar("T")
W = TypeVar("W")

Wanted = list[tuple[TaskWorkload, TaskSchedule]]
"""Schedules to be measured."""

Steps = Generator[Wanted, list[Measurement], T]
"""A search: yields what it wants measured, is sent the measurements in that order."""


def measured_by(steps: Steps[T], measure: Callable[[Wanted], list[Measurement]]) -> T:
    """Drives a search with a function that measures; returns what the search does."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(measure(wanted))
    except StopIteration as end:
        found: T = end.value
        return found


def side_by_side(
    searches: Sequence[Generator[list[W], list[Measurement], object]],
) -> Generator[list[W], list[Measurement], None]:
    """Several searches as one: each time everything that they want is asked for at once."""
    wanted: list[tuple[Generator[list[W], list[Measurement], object], list[W]]] = []
    for search in searches:
        if (first := next(search, None)) is not None:
            wanted.append((search, first))
    while wanted:
        answers = yield [pair for _, pairs in wanted for pair in pairs]
        following, at = [], 0
        for search, pairs in wanted:
            own, at = answers[at : at + len(pairs)], at + len(pairs)
            try:
                following.append((search, search.send(own)))
            except StopIteration:
                continue
        wanted = following
