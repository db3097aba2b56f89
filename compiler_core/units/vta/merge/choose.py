"""Chooses how the layers of a program begin: by the timing simulator, layer by layer.

How much a layer loads ahead is a trade: what is loaded early is there in time, and delays what is
needed first. The choice tries a few numbers for each layer among its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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
WORK = 1 << 18
"""Instructions that the choice may put in order and time in all. The smallest layers come first:
how large ones begin makes no difference that would be worth the time."""
ROUNDS = 3
"""How often the computations that carry a STORE's token are chosen anew."""
_THOROUGH_ROUNDS = 2
"""Likewise, for a layer and its neighbours where :data:`WORK` allows; else once."""


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
    efforts, digests = _affordable(joined), joined.digests(core.timing)
    for number in (at for at in range(1, len(joined)) if known[at] is None):
        near, tried = _near(joined, number), dict[Entry, int]()
        effort = efforts[number]
        for options in _WAYS[: effort.ways]:
            for entry in options(entries[number]):
                if entry not in tried:
                    entries[number] = entry
                    tried[entry] = _cycles(joined, core, entries, near, digests, effort.rounds)
            entries[number] = min(tried, key=lambda entry: tried[entry])
    return entries


class _Effort(NamedTuple):
    """What is tried for a layer.

    Attributes:
        ways: How many kinds of :data:`_WAYS`.
        rounds: Programs of each, see :data:`ROUNDS`.
    """

    ways: int = 0
    rounds: int = 1


def _near(joined: JoinedInstructions, number: int) -> range:
    """A layer and its neighbours."""
    return range(max(0, number - BEFORE), min(len(joined), number + 1 + BEHIND))


def _affordable(joined: JoinedInstructions) -> list[_Effort]:
    """What :data:`WORK` allows for each layer, the least work first: ways to begin, and with what
    is left more rounds of all of a layer's."""
    efforts = [_Effort()] * len(joined)
    sizes = [joined.instruction_count(_near(joined, number)) for number in range(len(joined))]
    numbers = range(1, len(joined))
    ways = [(sizes[n] * tries, kind, n) for n in numbers for kind, tries in enumerate(_TRIES)]
    left = WORK
    for cost, kind, number in sorted(ways):
        if cost <= left and efforts[number].ways == kind:
            left -= cost
            efforts[number] = _Effort(kind + 1)
    more = _THOROUGH_ROUNDS - 1
    for cost, number in sorted((sizes[n] * sum(_TRIES) * more, n) for n in numbers):
        if cost <= left and efforts[number].ways == len(_WAYS):
            left -= cost
            efforts[number] = _Effort(len(_WAYS), _THOROUGH_ROUNDS)
    return efforts


_KNOWN: Recent[int] = Recent(1 << 16)
"""Cycles of neighbours, so that a model of which one layer has changed takes little time."""


def _cycles(
    joined: JoinedInstructions,
    core: VtaCore,
    entries: Sequence[Entry],
    near: range,
    digests: Sequence[bytes],
    rounds: int,
) -> int:
    """Of the program of some neighbours, each timed once; ``digests`` say what they are."""
    key = core, digests[near.start : near.stop], joined.taken(entries, near), rounds
    found = _KNOWN.get(key)
    if found is None:
        found, _ = merged_program(joined, core, entries, near, rounds)
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
