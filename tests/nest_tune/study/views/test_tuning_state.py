"""Progress of tunings: side by side, ending one by one, with the time that is left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nest_tune.study.views.tuning_state import TuningState


def search(name: str, measurements: int, known: int = 0) -> Any:
    """One under way."""
    work = SimpleNamespace(operator="conv2d", shape="1x16x8x8")
    return SimpleNamespace(
        task=SimpleNamespace(id=name, workload=work),
        measurements=measurements,
        spent=measurements + known,
        best_cycles=1500,
        bound_cycles=1000,
        quality=None,
        machine=SimpleNamespace(kind="vta"),
    )


def test_time_left_follows_the_speed_behind_the_first_batches() -> None:
    state = TuningState(0.0)
    state.add(2, 128)
    first, second = search("a", 4), search("b", 4)
    state.take(first, 100.0)
    state.take(second, 100.0)
    assert state.seconds_left(100.0) is None  # the first batches pay for the start
    first.measurements = first.spent = 12
    state.take(first, 104.0)
    assert state.seconds_left(104.0) == (128 - 16) * 4.0 / 8
    assert "(2 begun, 16 measurements, 1 min 44 s, at most about 56 s left)" in state.text(104.0)


def test_what_was_known_before_takes_no_time() -> None:
    state = TuningState(0.0)
    state.add(1, 64)
    one = search("a", 4, known=40)
    state.take(one, 10.0)
    one.measurements, one.spent = 8, 48
    state.take(one, 12.0)
    assert state.seconds_left(12.0) == (64 - 48) * 2.0 / 4


def test_tunings_of_other_trials_are_counted_beside_those_under_way() -> None:
    state = TuningState(0.0)
    state.add(1, 64)
    one = search("a", 60)
    state.take(one, 30.0)
    state.add(2, 128)
    assert state.text(184.0).startswith("tuning 3 new tasks (1 begun, 60 measurements, 3 min 04 s")
    state.end(["a@npu"])
    assert state.tasks == 2
    assert state.text(184.0) == "tuning 2 new tasks"
    state.take(search("b", 4), 200.0)
    later = search("c", 4)
    state.take(later, 200.0)
    later.measurements = later.spent = 20
    state.take(later, 208.0)
    assert state.seconds_left(208.0) == (128 - 24) * 8.0 / 16


def test_nothing_is_promised_where_nothing_limits() -> None:
    state = TuningState(0.0)
    state.add(1, 0)
    one = search("a", 4)
    state.take(one, 1.0)
    one.measurements = one.spent = 8
    state.take(one, 2.0)
    assert state.seconds_left(2.0) is None
    assert "left" not in state.text(2.0)


def test_tasks_without_a_limit_take_nothing_of_the_others() -> None:
    state = TuningState(0.0)
    state.add(30, 0)
    state.add(2, 24)
    first, second = search("a", 4), search("b", 4)
    state.take(first, 10.0)
    state.take(second, 10.0)
    state.end([f"kernel{number}" for number in range(30)])
    assert state.tasks == 2
    first.measurements = first.spent = 8
    state.take(first, 14.0)
    assert state.seconds_left(14.0) == (24 - 12) * 4.0 / 4
    state.end(["a@m4"])
    assert state.seconds_left(14.0) == (12 - 4) * 4.0 / 4


def test_a_search_beyond_its_limit_is_not_said_to_end_at_once() -> None:
    state = TuningState(0.0)
    state.add(1, 8)
    one = search("a", 4)
    state.take(one, 1.0)
    one.measurements = one.spent = 12
    state.take(one, 2.0)
    assert state.seconds_left(2.0) is None
