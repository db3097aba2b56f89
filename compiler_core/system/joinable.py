"""Which programs may hold the layer before them, too, without making anybody wait for longer.

A run of layers starts when all is there that any of them reads, and the CPU hears of its results
when it is over. So a layer continues the one before only where what it reads beside the run's own
results is there when the run starts, and where nobody outside waits for a layer of the run but
those that wait for its last one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import islice

from compiler_core.memory.concurrent import ancestors
from compiler_core.system.jobs import JobKind
from compiler_core.system.steps import ExecutionStep


def joinable_steps(
    steps: Sequence[ExecutionStep], places: Sequence[str | None], *, chains: bool = False
) -> list[int]:
    """Positions of the steps that may continue the one before.

    Args:
        steps: Of the whole model.
        places: Of each launch, in the order of the steps, the unit that it is bound to, or
            ``None`` where it is cut across several.
        chains: See :func:`joinable`.
    """
    after = [step.after for step in steps]
    return joinable(after, _shared_places(steps, places), chains=chains)


def misfit_of_steps(
    steps: Sequence[ExecutionStep], places: Sequence[str | None], continued: Collection[int]
) -> int | None:
    """The first step that cannot continue the one before beside the others that do.

    Args:
        steps: Of the whole model.
        places: As of :func:`joinable_steps`.
        continued: Positions of those that are to continue the program before.
    """
    where = _shared_places(steps, places)
    before = ancestors([step.after for step in steps])
    head, members = -1, 0
    for number, step in enumerate(steps):
        if number not in continued:
            if step.kind is JobKind.PROGRAM:
                head, members = number, 1 << number
            continue
        if head < 0 or where[number] is None or where[number] != where[head]:
            return number
        if not _is_there(steps[number].after, before[head] | members):
            return number
        members |= 1 << number
    return None


def _shared_places(
    steps: Sequence[ExecutionStep], places: Sequence[str | None]
) -> list[Hashable | None]:
    """What each step may share a program with, where it is a program of one core."""
    rest = iter(places)
    where: list[Hashable | None] = []
    for step in steps:
        place = next(rest) if step.kind is JobKind.PROGRAM else None
        where.append(None if place is None else (step.segment, place))
    return where


def _is_there(sources: Sequence[int], known: int) -> bool:
    """Whether all of some jobs are among known ones, a bit each."""
    return all(known >> source & 1 for source in sources)


def joinable(
    after: Sequence[Sequence[int]], where: Sequence[Hashable | None], *, chains: bool = False
) -> list[int]:
    """Positions of what may continue the program before it.

    Args:
        after: What each waits for; all smaller than its own position.
        where: Of each program of one core what it may share a program with; ``None`` for the rest.
        chains: Whether a layer continues only what it reads: where cores are free, what waits for
            neither of two layers may be faster on two of them.
    """
    before = ancestors(after)
    readers: list[list[int]] = [[] for _ in after]
    for number, sources in enumerate(after):
        for source in sources:
            readers[source].append(number)
    programs = [number for number, place in enumerate(where) if place is not None]
    bits: dict[Hashable, int] = {}
    for number in programs:
        bits[where[number]] = bits.get(where[number], 0) | 1 << number
    found: list[int] = []
    first = 0
    while first < len(programs):
        run = _run(programs, first, after, where, before, readers, bits, chains=chains)
        found += run[1:]
        first += len(run)
    return found


def ways_of_joining(cores: int) -> tuple[bool, ...]:
    """Values of ``chains`` of :func:`joinable` that are worth comparing on so many cores."""
    return (True, False) if cores > 1 else (False,)


def _run(
    programs: Sequence[int],
    first: int,
    after: Sequence[Sequence[int]],
    where: Sequence[Hashable | None],
    before: Sequence[int],
    readers: Sequence[Sequence[int]],
    bits: Mapping[Hashable, int],
    *,
    chains: bool,
) -> list[int]:
    """The longest run that begins with one of some programs."""
    head = programs[first]
    place = where[head]
    run, members, farthest = [head], {head}, len(after)
    for number in islice(programs, first + 1, None):
        if where[number] != place:
            break
        if any(
            source not in members and not before[head] >> source & 1 for source in after[number]
        ):
            break
        if chains and run[-1] not in after[number]:
            break
        for reader in readers[run[-1]]:
            if where[reader] != place:
                # It stays outside, so a run does not go beyond the last program that it follows.
                farthest = min(farthest, (before[reader] & bits[place]).bit_length() - 1)
        if number > farthest:
            break
        run.append(number)
        members.add(number)
    while len(run) > 1:
        # Those that read a layer of the run, and do not follow its last one anyway.
        last = run[-1]
        waiting = (reader for number in run[:-1] for reader in readers[number])
        if all(reader in members or before[reader] >> last & 1 for reader in waiting):
            break
        members.remove(run.pop())
    return run
