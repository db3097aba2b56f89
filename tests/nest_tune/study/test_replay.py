"""The replay runner: the same trials from storage alone, and what storage lacks is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler_core.errors import NestTuneError
from compiler_core.units.vta import tasks
from nest_tune.runners.replay import make
from nest_tune.runners.runner import Ending, RunnerOptions, Setup, Work
from nest_tune.study.execution import candidates as bench
from nest_tune.study.trial import Outcome
from tests.nest_tune.trials_digest import trials_digest


def test_everything_is_answered_by_an_error_that_says_what_is_missing() -> None:
    runner = make(Setup("a:b", None), RunnerOptions())
    runner.submit(Work(1, "nest_tune.study.execution.worker:survey", {}, 1.0))
    runner.submit(Work(2, "nest_tune.study.execution.worker:measure", {}, 1.0))
    runner.cancel(1)
    (answer,) = runner.wait(10.0)
    assert (answer.ticket, answer.ending, answer.error) == (2, Ending.ERROR, "MissingRecord")
    assert "no result of measure" in answer.message
    assert runner.wait(10.0) == []


def test_a_study_runs_again_from_storage_alone(
    studies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = studies.settings(tiling=True, partition=False, trials=6)
    first = studies.run(settings)

    def never(*_: Any) -> None:
        raise AssertionError("the simulator was used")

    for module, name in ((tasks, "measure_layer"), (bench, "compile_model")):
        monkeypatch.setattr(module, name, never)
    again = studies.run(replace(settings, name="again", runner="replay"))
    assert sum(task.measurements for task in again.tasks.values()) > 0
    # Times of the calls are not repeated.
    assert trials_digest(again.trials) == trials_digest(first.trials)


def test_a_trial_that_was_never_measured_is_an_error_of_its_own(studies: Any) -> None:
    studies.run(studies.settings(trials=1))
    result = studies.run(studies.settings(name="again", runner="replay", trials=9))
    default, *others = result.trials
    assert default.outcome is Outcome.COMPLETE
    assert {trial.outcome for trial in others} == {Outcome.RUNTIME}
    assert "storage has no result of survey" in others[0].message


def test_a_schedule_that_was_never_measured_ends_the_study(studies: Any) -> None:
    settings = studies.settings(tiling=True, partition=False, trials=3)
    studies.run(settings)
    with pytest.raises(
        NestTuneError, match=r"the records lack \d+ of \d+ schedules of task [a-z0-9]+-"
    ):
        studies.run(replace(settings, name="again", runner="replay", seed=5))


def test_an_empty_storage_is_said_at_once(studies: Any) -> None:
    with pytest.raises(NestTuneError, match="storage has no result of float_accuracy"):
        studies.run(studies.settings(runner="replay"))
