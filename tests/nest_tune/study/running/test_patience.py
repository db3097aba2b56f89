"""How long calls may take where nobody says so."""

from __future__ import annotations

from typing import Any

from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.patience import FIRST_S, LEAST_S, TIMES, Patience
from nest_tune.study.store.storage import StudyStorage


class _Timed:
    """Answers with its payload as the seconds that the call took; remembers what was allowed."""

    name = "timed"

    def __init__(self) -> None:
        self._works: list[Work] = []
        self.allowed: dict[tuple[str, float], float] = {}

    def submit(self, work: Work) -> None:
        self.allowed[work.function, work.payload] = work.timeout_s
        self._works.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        del timeout_s
        work = self._works.pop(0)
        ending = Ending.TIMEOUT if work.payload > 500 else Ending.DONE
        return [Answer(work.ticket, ending, value=0, wall_s=work.payload)]

    def cancel(self, ticket: int) -> None:
        raise AssertionError(ticket)

    def close(self) -> None:
        """Nothing runs."""


def test_calls_are_given_up_by_what_others_have_taken(tmp_path: Any) -> None:
    runner, storage = _Timed(), StudyStorage(f"sqlite:///{tmp_path / 'n.db'}")
    calls = Calls(runner, storage, "context", None)

    def call(function: str, seconds: float, **more: Any) -> float:
        calls.start(function, seconds, lambda _: None, **more)
        calls.drain()
        return runner.allowed[function, seconds]

    assert call("m:survey", 1.0) == FIRST_S
    assert call("m:survey", 1.5) == LEAST_S
    assert call("m:measure", 30.0) == FIRST_S  # the first of its kind may take its time
    assert call("m:survey", 2.0) == call("m:measure", 3.0) == 30.0 * TIMES
    assert call("m:task", 400.0, kept=False, timeout_s=7.0) == 7.0
    assert call("m:measure", 501.0) == 30.0 * TIMES  # given up: nobody's measure
    assert call("m:measure", 5.0) == 30.0 * TIMES
    storage.close()


def test_what_somebody_grants_is_granted() -> None:
    patience = Patience(7.0)
    patience.ended("m:measure", 300.0)
    assert patience.allowed_s("m:measure") == patience.allowed_s("m:survey") == 7.0


def test_no_call_is_granted_more_than_the_first() -> None:
    patience = Patience()
    patience.ended("m:measure", FIRST_S)
    assert patience.allowed_s("m:measure") == FIRST_S


def test_a_study_leaves_the_time_of_trials_to_what_they_take(studies: Any) -> None:
    allowed: list[float] = []

    def note(work: Work) -> Answer | None:
        if not work.function.endswith("schedules"):
            allowed.append(work.timeout_s)
        return None

    studies.run(studies.settings(trials=2, trial_timeout_s=None, tiling=False), hurdle=note)
    assert allowed[0] == FIRST_S
    assert LEAST_S in allowed
