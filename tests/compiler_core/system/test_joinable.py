"""Which programs continue the one before: a plain search over all lengths of every run."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.system.joinable import joinable


def ancestors_of(number: int, after: Sequence[Sequence[int]]) -> set[int]:
    found: set[int] = set()
    for source in after[number]:
        found |= {source} | ancestors_of(source, after)
    return found


def plainly(
    after: Sequence[Sequence[int]], where: Sequence[int | None], *, chains: bool
) -> list[int]:
    """The longest run from each program on, by trying every length."""
    before = [ancestors_of(number, after) for number in range(len(after))]
    programs = [number for number, place in enumerate(where) if place is not None]
    found: list[int] = []
    while programs:
        length = max(
            length
            for length in range(1, len(programs) + 1)
            if fits(programs[:length], after, where, before, chains=chains)
        )
        found += programs[1:length]
        programs = programs[length:]
    return found


def fits(
    run: Sequence[int],
    after: Sequence[Sequence[int]],
    where: Sequence[int | None],
    before: Sequence[set[int]],
    *,
    chains: bool,
) -> bool:
    for index, number in enumerate(run[1:], 1):
        if where[number] != where[run[0]]:
            return False
        if not set(after[number]) <= before[run[0]] | set(run[:index]):
            return False
        if chains and run[index - 1] not in after[number]:
            return False
    waiting = {
        reader
        for reader, sources in enumerate(after)
        if set(sources) & set(run[:-1]) and reader not in run
    }
    return all(run[-1] in before[reader] for reader in waiting)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[int | None]]:
    count = draw(st.integers(1, 14))
    after = [
        tuple(sorted(draw(st.sets(st.integers(0, number - 1), max_size=3)))) if number else ()
        for number in range(count)
    ]
    where = draw(st.lists(st.sampled_from([None, 0, 0, 0, 1]), min_size=count, max_size=count))
    return after, where


@given(jobs(), st.booleans())
def test_runs_are_the_longest_that_make_nobody_wait(
    found: tuple[list[tuple[int, ...]], list[int | None]], chains: bool
) -> None:
    after, where = found
    assert joinable(after, where, chains=chains) == plainly(after, where, chains=chains)
