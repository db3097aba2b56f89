"""Which programs may hold the layer before them, too, without making anybody wait for longer.

A run of layers starts when all is there that any of them reads, and the CPU hears of its results
when it is over. So a layer continues the one before only where what it reads beside the run's own
results is there when the run starts, and where nobody outside waits for a layer of the run but
those that wait for its last one.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.memory.concurrent import ancestors
from compiler_core.system.jobs import JobKind
from compiler_core.system.steps import Step


def joinable_steps(
    steps: Sequence[Step], places: Sequence[str | None], *, chains: bool = False
) -> list[int]:
    """Positions of the steps that may continue the one before.

    Args:
        steps: Of the whole model.
        places: Of each launch, in the order of the steps, the unit that it is bound to, or
            ``None`` where it is cut across several.
        chains: Whether a layer continues only what it reads: where cores are free, what waits for
            neither of two layers is faster on two of them.
    """
    before = ancestors([step.after for step in steps])
    readers: list[list[int]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        for source in step.after:
            readers[source].append(number)
    where = _places(steps, places)
    found: list[int] = []
    head = 0
    while head < len(steps):
        last = head
        if where[head] is not None:
            last = _last(steps, head, where, before, readers, chains=chains)
            found += range(head + 1, last + 1)
        head = last + 1
    return found


def _places(steps: Sequence[Step], places: Sequence[str | None]) -> list[tuple[str, str] | None]:
    """Segment and place of every step; ``None`` for what is no program of one core."""
    rest = iter(places)
    found: list[tuple[str, str] | None] = []
    for step in steps:
        place = next(rest) if step.kind is JobKind.PROGRAM else None
        found.append(None if place is None else (step.segment, place))
    return found


def _last(
    steps: Sequence[Step],
    head: int,
    where: Sequence[tuple[str, str] | None],
    before: Sequence[int],
    readers: Sequence[Sequence[int]],
    *,
    chains: bool,
) -> int:
    """The last step of the longest run that begins with a step."""
    stop = head + 1
    while stop < len(steps) and where[stop] == where[head]:
        outside = [source for source in steps[stop].after if source < head]
        if any(not before[head] >> source & 1 for source in outside):
            break
        if chains and stop - 1 not in steps[stop].after:
            break
        stop += 1
    for last in range(stop - 1, head, -1):
        # Those that read a layer of the run, and do not follow its last one anyway.
        waiting = (reader for step in range(head, last) for reader in readers[step])
        if all(reader <= last or before[reader] >> last & 1 for reader in waiting):
            return last
    return head
