"""Chooses how the layers of a program begin: by the timing simulator, layer by layer.

How much a layer loads ahead is a trade: what is loaded early is there in time, and delays what is
needed first. The choice tries a few numbers for each layer among its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compiler_core.recent import Recent
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.merge import Entry, JoinedInstructions, Merged, carriers_of
from compiler_core.units.vta.simulate.timing import time_program

ALL = 64
"""More LOADs than any schedule has slots."""
AHEAD = (0, 1, 2, 3, ALL)
"""How many LOADs are tried ahead."""
BEFORE, BEHIND = 2, 1
"""Neighbours with which a layer is timed."""
WORK = 1 << 19
"""Instructions that the choice may put in order and time in all. The smallest layers come first:
how large ones begin makes no difference that would be worth the time."""
ROUNDS = 3
"""How often the computations that carry a STORE's token are chosen anew."""


def merged_program(
    joined: JoinedInstructions,
    core: VtaCore,
    entries: Sequence[Entry],
    layers: range | None = None,
    rounds: int = ROUNDS,
) -> tuple[int, Merged]:
    """The program of some layers, and its cycles.

    Args:
        joined: The layers.
        core: The machine.
        entries: How each begins.
        layers: Which; else all.
        rounds: Programs that are tried.
    """
    carriers: Mapping[int, int] = {}
    best: tuple[int, Merged] | None = None
    for _ in range(rounds):
        merged = joined.merge(entries, carriers, layers)
        run = time_program(merged.instructions, core.timing, core.geometry, trace=True)
        if best is None or run.cycles < best[0]:
            best = run.cycles, merged
        assert run.trace is not None
        found = carriers_of(merged, run.trace.start_cycle, run.trace.end_cycle)
        if found == carriers:
            break
        carriers = found
    assert best is not None
    return best


def choose_entries(
    joined: JoinedInstructions, core: VtaCore, given: Sequence[Entry | None] | None = None
) -> list[Entry]:
    """How each layer begins: the fastest of a few ways, one layer after another; the first one
    follows none and begins as usual.

    Args:
        joined: The layers.
        core: The machine.
        given: What is chosen already; ``None`` for a layer, or for all, where it is open.
    """
    known = [None] * len(joined) if given is None else given
    entries = [entry or Entry() for entry in known]
    ways, digests = _affordable(joined), joined.digests(core.timing)
    for number in (at for at in range(1, len(joined)) if known[at] is None):
        near, tried = _near(joined, number), dict[Entry, int]()
        for options in _WAYS[: ways[number]]:
            for entry in options(entries[number]):
                if entry not in tried:
                    entries[number] = entry
                    tried[entry] = _cycles(joined, core, entries, near, digests)
            entries[number] = min(tried, key=lambda entry: tried[entry])
    return entries


def _near(joined: JoinedInstructions, number: int) -> range:
    """A layer and its neighbours."""
    return range(max(0, number - BEFORE), min(len(joined), number + 1 + BEHIND))


def _affordable(joined: JoinedInstructions) -> list[int]:
    """How many kinds of ways of :data:`_WAYS` are tried for each layer: what :data:`WORK` allows,
    the least work first."""
    ways = [0] * len(joined)
    work = [
        (joined.instruction_count(_near(joined, number)) * tries * _TRY_ROUNDS, kind, number)
        for number in range(1, len(joined))
        for kind, tries in enumerate(_TRIES)
    ]
    left = WORK
    for cost, kind, number in sorted(work):
        if cost > left or ways[number] < kind:
            continue
        left -= cost
        ways[number] += 1
    return ways


_TRY_ROUNDS = 2
"""As :data:`ROUNDS`, for a layer and its neighbours."""

_KNOWN: Recent[int] = Recent(1 << 16)
"""Cycles of neighbours, so that a model of which one layer has changed takes little time."""


def _cycles(
    joined: JoinedInstructions,
    core: VtaCore,
    entries: Sequence[Entry],
    near: range,
    digests: Sequence[bytes],
) -> int:
    """Of the program of some neighbours, each timed once; ``digests`` say what they are."""
    key = core, digests[near.start : near.stop], joined.taken(entries, near)
    found = _KNOWN.get(key)
    if found is None:
        found, _ = merged_program(joined, core, entries, near, _TRY_ROUNDS)
        _KNOWN.keep(key, found)
    return found


def _ahead(entry: Entry) -> Iterator[Entry]:
    for ahead in AHEAD:
        yield entry._replace(ahead=ahead)


def _early(entry: Entry) -> Iterator[Entry]:
    for ahead in AHEAD:
        for early in AHEAD:
            if 0 < early <= ahead and ahead >= entry.ahead:
                yield Entry(ahead, early, entry.micro_ops_early)
    yield entry._replace(micro_ops_early=True)


_WAYS = (_ahead, _early)
_TRIES = (len(AHEAD), 9)
"""About how many of each there are, for one choice before."""
