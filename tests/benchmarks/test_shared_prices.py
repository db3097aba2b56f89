"""Which of many offers are judged for the last one that keeps a limit."""

from __future__ import annotations

import pytest

from benchmarks.shared_prices import sought


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40])
def test_the_last_one_that_keeps_is_looked_at(count: int) -> None:
    for last in range(-1, count):
        seen = list(sought(count, lambda at, last=last: at <= last))
        assert len(seen) == len(set(seen)) <= count.bit_length() + 1
        assert last < 0 or last in seen
        assert last + 1 == count or last + 1 in seen


def test_the_next_one_behind_is_looked_at_for_chance() -> None:
    assert {6, 7, 8} <= set(sought(40, lambda at: at < 7))
