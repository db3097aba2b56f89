"""Programs that no dependence orders: the pairs that meet are those that a walk over all finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.memory.concurrent import ancestors
from compiler_core.units.vta.link.multicore_conflicts import Ranges, unordered_conflict

Case = tuple[list[list[int]], list[int], list[tuple[Ranges, Ranges]]]


def _ranges(gaps: list[tuple[int, int]]) -> Ranges:
    """Disjoint ranges from the distances between them and their lengths."""
    rows, end = [], 0
    for gap, length in gaps:
        rows.append((end + gap, end + gap + length))
        end = rows[-1][1]
    return np.array(rows, np.int64).reshape(-1, 2)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 9))
    after = [
        sorted(draw(st.sets(st.integers(0, step - 1), max_size=2))) if step else []
        for step in range(count)
    ]
    programs = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    pieces = st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 5000)), max_size=3)
    accesses = [(_ranges(draw(pieces)), _ranges(draw(pieces))) for _ in programs]
    return after, programs, accesses


@given(cases())
def test_what_meets_is_what_a_walk_over_all_pairs_finds(case: Case) -> None:
    after, programs, accesses = case
    before = ancestors(after)
    found = unordered_conflict(accesses, [before[step] for step in programs], programs)
    size = 1 + max((int(part.max(initial=0)) for pair in accesses for part in pair), default=0)
    bytes_ = [[np.zeros(size, bool) for _ in pair] for pair in accesses]
    for marks, pair in zip(bytes_, accesses, strict=True):
        for mark, ranges in zip(marks, pair, strict=True):
            for start, end in ranges:
                mark[start:end] = True
    meeting = {
        (one, other): (bytes_[one][0] & (bytes_[other][0] | bytes_[other][1]))
        | (bytes_[one][1] & bytes_[other][0])
        for one, other in combinations(range(len(programs)), 2)
        if not before[programs[other]] >> programs[one] & 1
    }
    meeting = {pair: marks for pair, marks in meeting.items() if marks.any()}
    if found is None:
        assert not meeting
    else:
        marks = meeting[found.earlier, found.later]
        assert marks[found.first_byte : found.last_byte + 1].all()


def test_thousands_of_programs_side_by_side_are_compared_by_page() -> None:
    count = 3000
    none = np.zeros((0, 2), np.int64)
    shared = np.array([[0, 4096]], np.int64)
    accesses = [(shared + 4096 * (step + 1), shared) for step in range(count)]
    assert unordered_conflict(accesses, [0] * count, range(count)) is None
    accesses.append((none, shared + 4096 * count))
    found = unordered_conflict(accesses, [0] * (count + 1), range(count + 1))
    assert found is not None
    assert (found.earlier, found.later) == (count - 1, count)
