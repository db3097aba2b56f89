"""Studies that a viewer has renamed, or Optuna copied: what is ours is found by their new names."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna_dashboard import wsgi

from compiler_core.errors import InputError, StorageLostError
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.request.settings import StudySettings, settings_document
from nest_tune.study.store.enqueued import enqueue, enqueued
from nest_tune.study.store.optuna_study import optuna_storage, optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.store.trial_document import KEY
from nest_tune.study.trial import Proposal
from tests.nest_tune.study.store.test_optuna_storage import DOCUMENT, KINDS, trial, url_of

GOAL = Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE)
SETTINGS = StudySettings("before", "m.onnx", "vta", objectives=(GOAL,))
STARTED = {**DOCUMENT, "settings": settings_document(SETTINGS)}


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    opened = StudyStorage(url_of(request.param, tmp_path))
    study = opened.create("before", STARTED)
    opened.take(study)
    opened.propose(study, Proposal(0, (0, 0, 0), False), Proposal(1, (1, 1, 0), True))
    opened.finish(study, trial(0))
    opened.add_tasks(study, {"task": [7]})
    enqueue(opened, study, (1, 2, 0))
    yield opened
    opened.close()


@pytest.fixture
def study(storage: StudyStorage) -> Any:
    found = storage.find("before")
    storage.release(found, Status.STOPPED)
    return storage.find("before")


def rename(storage: StudyStorage, name: str, to: str) -> None:
    """As somebody does in the dashboard."""
    backend = optuna_storage(storage)
    number = backend.get_study_id_from_name(name)
    body = json.dumps({"study_name": to}).encode()
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/api/studies/{number}/rename",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    answer = wsgi(backend)(environ, lambda status, _headers, *_: told.append(status))
    assert told[0].startswith("201"), b"".join(answer)


def test_a_study_that_was_renamed_goes_on(storage: StudyStorage, study: Any) -> None:
    rename(storage, "before", "after")
    (found,) = storage.studies()
    assert (found.name, found.status, found.is_copy) == ("after", Status.STOPPED, False)
    assert found.document == study.document
    assert [t.number for t in storage.trials(found)] == [0]
    assert [p.number for p in storage.proposals(found)] == [1]
    with pytest.raises(InputError, match="renamed to 'after'") as told:
        storage.find("before")
    assert told.value.hint == "nest-tune study show after"

    found = storage.own(found)
    storage.take(found)
    storage.finish(found, trial(1))
    storage.propose(found, Proposal(2, (0, 1, 1), True))
    assert storage.tasks(found) == {"task": [7]}
    assert enqueued(storage, found) == ((1, 2, 0),)
    shown = optuna_study(storage, "after")
    assert [t.state.name for t in shown.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert shown.metric_names == ["latency_ms"]  # the dashboard had left them behind
    rename(storage, "after", "once more")
    assert storage.find("once more").mark == study.mark


def test_a_driver_whose_study_is_renamed_ends_and_says_so(storage: StudyStorage) -> None:
    study = storage.find("before")
    rename(storage, "before", "after")
    with pytest.raises(StorageLostError, match="renamed to 'after' while it ran") as told:
        storage.finish(study, trial(1))
    assert told.value.hint == "nest-tune study resume after"


def test_a_copy_gets_its_own_description_when_it_runs(storage: StudyStorage, study: Any) -> None:
    backend = optuna_storage(storage)
    optuna.copy_study(
        from_study_name="before", from_storage=backend, to_storage=backend, to_study_name="copy"
    )
    copy = storage.find("copy")
    assert (copy.is_copy, storage.find("before").is_copy) == (True, False)
    assert copy.document == study.document
    assert [t.number for t in storage.trials(copy)] == [0]

    own = storage.own(copy)
    assert not own.is_copy
    assert (own.mark != study.mark, own.key != study.key) == (True, True)
    storage.take(own)
    storage.finish(own, trial(1))
    assert storage.tasks(own) == {"task": [7]}
    assert [t.number for t in storage.trials(study)] == [0]
    assert not storage.find("before").is_running

    storage.delete(storage.find("before"))
    assert [t.number for t in storage.trials(storage.find("copy"))] == [0, 1]


@pytest.mark.parametrize("first", ["before", "copy"])
def test_whichever_is_deleted_first_the_other_stays(
    storage: StudyStorage, study: Any, first: str
) -> None:
    backend = optuna_storage(storage)
    optuna.copy_study(
        from_study_name="before", from_storage=backend, to_storage=backend, to_study_name="copy"
    )
    storage.delete(storage.find(first))
    (left,) = storage.studies()
    assert not left.is_copy
    assert left.document == study.document
    storage.take(storage.own(left))
    storage.delete(storage.find(left.name))
    assert storage.scan() == ((), {})


def test_the_copy_of_a_running_study_does_not_run(storage: StudyStorage) -> None:
    backend = optuna_storage(storage)
    optuna.copy_study(
        from_study_name="before", from_storage=backend, to_storage=backend, to_study_name="copy"
    )
    assert storage.find("before").is_running
    assert storage.find("copy").status is Status.STOPPED
    storage.take(storage.own(storage.find("copy")))
    storage.finish(storage.find("before"), trial(1))


def test_what_was_copied_without_its_mark_can_be_given_it(
    storage: StudyStorage, study: Any
) -> None:
    backend = optuna_storage(storage)
    there = optuna_study(storage, "before")
    bare = optuna.create_study(study_name="bare", storage=backend, direction="minimize")
    bare.add_trials(there.trials)
    optuna.delete_study(study_name="before", storage=backend)
    with pytest.raises(InputError, match=rf"marks without a study: {study.mark} \(before\)"):
        storage.find("bare")
    bare.set_user_attr(KEY, study.mark)
    assert [t.number for t in storage.trials(storage.find("bare"))] == [0]


def test_a_study_from_another_storage_says_where_its_description_is(
    storage: StudyStorage, study: Any, tmp_path: Path
) -> None:
    other = StudyStorage(f"sqlite:///{tmp_path / 'other.db'}")
    optuna.copy_study(
        from_study_name="before",
        from_storage=optuna_storage(storage),
        to_storage=other.url.reveal(),
    )
    assert study.name == "before"
    with pytest.raises(InputError, match="not in this storage") as told:
        other.find("before")
    assert "storage that it was copied from" in str(told.value.hint)
    other.drop("before")
    assert other.scan() == ((), {})
    other.close()


def test_studies_of_before_are_marked_when_they_go_on(storage: StudyStorage, study: Any) -> None:
    shown = optuna_study(storage, "before")
    shown.set_user_attr(KEY, None)  # as if it had never been written
    storage.own(replace(study))
    assert optuna_study(storage, "before").user_attrs[KEY] == study.mark
