"""Scores: kept as text and compared by counts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.score import (
    Score,
    all_right,
    counted,
    drop,
    hopeful_difference,
    spliced,
    tallies_of,
)
from compiler_core.accuracy.tally import Tally

RIGHT = st.integers(1, 40).flatmap(
    lambda positions: st.tuples(
        st.just(positions),
        st.lists(
            st.lists(st.integers(0, positions), min_size=7, max_size=7), min_size=1, max_size=3
        ),
    )
)


@given(RIGHT)
def test_tallies_come_back(given_: tuple[int, list[list[int]]]) -> None:
    positions, rows = given_
    score = counted([Tally(np.array(row), positions) for row in rows])
    found = tallies_of(score)
    assert [t.right.tolist() for t in found] == rows
    assert {t.positions for t in found} == {positions}
    assert score.value == min(sum(row) for row in rows) / (7 * positions)
    assert tallies_of(Score(0.5, 7)) == ()


@given(RIGHT)
def test_parts_are_spliced_to_the_whole(given_: tuple[int, list[list[int]]]) -> None:
    positions, rows = given_
    parts = [0, 3, 5], [1, 2, 4, 6]
    one, two = (counted([Tally(np.array(row)[part], positions) for row in rows]) for part in parts)
    whole = counted([Tally(np.array(row), positions) for row in rows])
    assert spliced(one, parts[0], two, parts[1]) == whole


@given(st.integers(1, 3000), st.data())
def test_a_drop_of_counts_holds_exactly_the_limits_that_the_fraction_holds(
    samples: int, data: st.DataObject
) -> None:
    hits = sorted(data.draw(st.tuples(st.integers(0, samples), st.integers(0, samples))))
    rows = np.arange(samples)
    own, reference = (counted([Tally((rows < n).astype(np.int64))]) for n in hits)
    lost = drop(reference, own)
    for limit in ("0.01", "0.005", "0.02", "0.1", "0.003"):
        exact = Fraction(hits[1] - hits[0], samples) <= Fraction(limit)
        assert (lost <= float(limit)) == exact
    assert drop(reference, reference) == 0.0
    assert all_right(own).value == 1.0


def test_three_in_three_hundred_are_one_percent() -> None:
    rows = np.arange(300)
    reference, own = (counted([Tally((rows < n).astype(np.int64))]) for n in (285, 282))
    assert reference.value - own.value > 0.01
    assert drop(reference, own) == 0.01
    assert drop(Score(0.95, 300), Score(0.94, 300)) == 0.01


def test_the_output_that_loses_most_decides_the_drop() -> None:
    """An output that was bad before does not hide what another one loses."""
    bad, good, broken = (Tally(np.array(r)) for r in ([1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]))
    assert drop(counted([bad, good]), counted([bad, broken])) == 0.5
    assert counted([bad, broken]).value == 0.25


@given(st.lists(st.booleans(), min_size=16, max_size=16), st.integers(0, 2**16 - 1))
def test_hope_is_that_of_bits(one: list[bool], flips: int) -> None:
    """As it was when samples had one bit each: seeded studies ask it."""
    mine = np.array(one)
    theirs = mine ^ np.array([bool(flips >> i & 1) for i in range(16)])
    scores = [counted([Tally(bits.astype(np.int64))]) for bits in (mine, theirs)]
    difference = mine.mean() - theirs.mean()
    changed = (mine ^ theirs).mean()
    expected = difference + 2 * np.sqrt(max(changed - difference**2, 1 / 16) / 16)
    assert hopeful_difference(*scores, 2.0) == pytest.approx(expected)
