"""A study that replaces another one does so with its first trial, and loses nothing before."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import optuna
import pytest

from compiler_core.errors import InputError, NestTuneError
from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.running.lifecycle import OLD_KEPT
from nest_tune.study.store.creation import create_study, take_up
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import BESIDE, Status
from nest_tune.study.trial import Outcome


class BrokenOff(BaseException):
    """Stands for an interrupt."""


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def settings(request: pytest.FixtureRequest, studies: Any) -> Any:
    """Of a study in a storage of each kind."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").url
    else:
        name = "n.db" if request.param == "sqlite" else "n.log"
        url = f"{request.param}:///{studies.folder / name}"
    return studies.settings(storage=url, trials=3, sampler="random")


def broken(function: str, error: BaseException | None = None) -> Any:
    """A hurdle at which calls of a function fail, or that breaks off there."""

    def hurdle(work: Work) -> Answer | None:
        if not work.function.endswith(function):
            return None
        if error is not None:
            raise error
        return Answer(work.ticket, Ending.ERROR, error="InputError", message="the plug is out")

    return hurdle


def contents(settings: Any) -> Any:
    """Names of studies, and number and seed of the trials of the one of the settings."""
    with closing(StudyStorage(settings.storage, create=False)) as storage:
        study = storage.find(settings.name)
        seed = study.document["settings"]["seed"]
        return [s.name for s in storage.studies()], len(storage.trials(study)), seed, study.mark


@pytest.mark.parametrize(
    "hurdle",
    [
        broken(":float_accuracy"),
        broken(":survey"),
        broken(":survey", BrokenOff()),
    ],
    ids=["no start", "every trial fails", "interrupted in a trial"],
)
def test_what_cannot_start_replaces_nothing(studies: Any, settings: Any, hurdle: Any) -> None:
    studies.run(settings)
    before = contents(settings)
    other = replace(settings, seed=7, holdout=0.25)  # nothing of it is known from before
    with pytest.raises((NestTuneError, BrokenOff)) as caught:
        studies.run(other, if_exists="replace", hurdle=hurdle)
    assert OLD_KEPT in caught.value.__notes__
    assert contents(settings) == before
    assert len(studies.run(replace(settings, trials=4), if_exists="resume").trials) == 4


def test_it_is_replaced_with_the_first_trial(studies: Any, settings: Any) -> None:
    old = studies.run(settings)
    names = []

    def hurdle(work: Work) -> Answer | None:
        if work.function.endswith(":measure"):
            names.append(contents(settings)[:3])
        return None

    other = replace(settings, seed=7, trials=4, holdout=0.25)
    result = studies.run(other, if_exists="replace", hurdle=hurdle)
    assert names[0] == (["s", "s" + BESIDE], 3, 0)  # beside, while its first trial is measured
    assert names[1][0] == ["s"]
    assert names[1][2] == 7
    assert result.study.name == "s"
    assert result.study.mark != old.study.mark
    assert len(result.trials) == 4
    fresh = studies.run(replace(other, name="fresh"))
    assert [t.point for t in result.trials] == [t.point for t in fresh.trials]
    assert [t.metrics for t in result.trials] == [t.metrics for t in fresh.trials]
    with closing(StudyStorage(settings.storage)) as storage:
        shown = optuna_study(storage, "s")
        assert [t.state for t in shown.trials] == [optuna.trial.TrialState.COMPLETE] * 4
        theirs = optuna_study(storage, "fresh")
        assert [t.params for t in shown.trials] == [t.params for t in theirs.trials]
        assert [t.values for t in shown.trials] == [t.values for t in theirs.trials]
        assert shown.metric_names == theirs.metric_names
        assert shown.directions == theirs.directions
    assert len(studies.run(replace(other, trials=6), if_exists="resume").trials) == 6


def test_trials_that_failed_before_the_first_good_one_come_along(
    studies: Any, settings: Any
) -> None:
    studies.run(settings)
    failures = iter([True, False])

    def hurdle(work: Work) -> Answer | None:
        if work.function.endswith(":survey") and next(failures, False):
            return Answer(work.ticket, Ending.ERROR, error="InputError", message="once")
        return None

    other = replace(settings, seed=7, holdout=0.25)
    result = studies.run(other, if_exists="replace", hurdle=hurdle)
    assert result.trials[0].outcome is Outcome.COMPILE
    assert all(trial.outcome.is_measured for trial in result.trials[1:])
    assert contents(settings)[:3] == (["s"], 3, 7)


def test_what_a_killed_process_left_beside_is_no_study(studies: Any, settings: Any) -> None:
    studies.run(settings)
    ground = survey_ground(replace(settings, seed=7))
    with closing(StudyStorage(settings.storage)) as storage:
        left = create_study(storage, ground, "replace")
        storage.take(left)
        with pytest.raises(InputError, match=r"'s' is being replaced by process"):
            create_study(storage, ground, "replace")
        storage.release(left, Status.RUNNING)  # as if it had been killed
    storage = StudyStorage(settings.storage)
    with closing(storage), pytest.raises(InputError, match="was to replace 's'"):
        take_up(storage, "s" + BESIDE)
    assert len(studies.run(replace(settings, trials=2, seed=7), if_exists="replace").trials) == 2
    assert contents(settings)[:3] == (["s"], 2, 7)


def test_a_study_that_is_resumed_meanwhile_stays(studies: Any, settings: Any) -> None:
    studies.run(settings)
    others = []

    def hurdle(work: Work) -> Answer | None:
        if work.function.endswith(":measure") and not others:
            others.append(StudyStorage(settings.storage))
            others[0].take(others[0].find("s"))
        return None

    other = replace(settings, seed=7, holdout=0.25)
    with pytest.raises(InputError, match="resumed meanwhile"):
        studies.run(other, if_exists="replace", hurdle=hurdle)
    others[0].close()
    assert contents(settings)[:3] == (["s"], 3, 0)
