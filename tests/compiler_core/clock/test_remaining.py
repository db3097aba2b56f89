"""What is said of steps that are left."""

from __future__ import annotations

from compiler_core.clock.remaining import Remaining


def test_a_tenth_at_a_time_with_the_time_that_is_left() -> None:
    told: list[str] = []
    now = [100.0]
    remaining = Remaining(40, told.append, lambda: now[0])
    for done in range(41):
        now[0] = 100.0 + 0.5 * done
        remaining(done, "timed")
    assert len(told) == 9
    assert told[0] == "timed 4 of 40, about 18 s left"
    assert told[-1] == "timed 36 of 40, about 2 s left"


def test_nothing_is_said_of_one_step() -> None:
    told: list[str] = []
    remaining = Remaining(1, told.append)
    remaining(0, "timed")
    remaining(1, "timed")
    assert told == []
