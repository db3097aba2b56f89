"""Which programs may hold the layer before them, too, without making anybody wait for longer.

A run of layers starts when all is there that any of them reads, and the CPU hears of its results
when it is over. So a layer continues the one before only where what it reads beside the run's own
results is there when the run starts, and where nobody outside waits for a layer of the run but
those that wait for its last one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

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
        chains: See :func:`joinable`.
    """
    rest = iter(places)
    where: list[Hashable | None] = []
    for step in steps:
        place = next(rest) if step.kind is JobKind.PROGRAM else None
        where.append(None if place is None else (step.segment, place))
    return joinable([step.after for step in steps], where, chains=chains)


def joinable(
    after: Sequence[Sequence[int]], where: Sequence[Hashable | None], *, chains: bool = False
) -> list[int]:
    """Positions of what may continue the program before it.

    Args:
        after: What each waits for; all smaller than its own position.
        where: Of each program of one core what it may share a program with; ``None`` for the rest.
        chains: Whether a layer continues only what it reads: where cores are free, what waits for
            neither of two layers is faster on two of them.
    """
    before = ancestors(after)
    readers: list[list[int]] = [[] for _ in after]
    for number, sources in enumerate(after):
        for source in sources:
            readers[source].append(number)
    programs = [number for number, place in enumerate(where) if place is not None]
    found: list[int] = []
    first = 0
    while first < len(programs):
        run = _run(programs[first:], after, where, before, readers, chains=chains)
        found += run[1:]
        first += len(run)
    return found


def _run(
    programs: Sequence[int],
    after: Sequence[Sequence[int]],
    where: Sequence[Hashable | None],
    before: Sequence[int],
    readers: Sequence[Sequence[int]],
    *,
    chains: bool,
) -> list[int]:
    """The longest run that begins with the first of some programs."""
    head = programs[0]
    run, members = [head], 1 << head
    for number in programs[1:]:
        sources = after[number]
        there = before[head] | members
        if where[number] != where[head] or any(not there >> source & 1 for source in sources):
            break
        if chains and run[-1] not in sources:
            break
        run.append(number)
        members |= 1 << number
    while len(run) > 1:
        # Those that read a layer of the run, and do not follow its last one anyway.
        last = run[-1]
        waiting = (reader for number in run[:-1] for reader in readers[number])
        if all(members >> reader & 1 or before[reader] >> last & 1 for reader in waiting):
            break
        run.pop()
        members &= ~(1 << last)
    return run
