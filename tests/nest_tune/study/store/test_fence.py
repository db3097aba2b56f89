"""One process holds a study: what the others, a slow one or a sleeper may still do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.records.owner import Owner, read_owner, this_process
from nest_tune.study.store.selection import require_idle
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request, Status
from nest_tune.study.store.study_rows import LostStudyError
from nest_tune.study.store.tables import RUNS
from nest_tune.study.trial import Outcome, OuterTrial, Proposal


@pytest.fixture(params=["sqlite:///{}/n.db", "journal:///{}/n.log"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.fixture
def storage(url: str) -> Iterator[StudyStorage]:
    opened = StudyStorage(url)
    yield opened
    opened.close()


def change(storage: StudyStorage, **values: object) -> None:
    storage.run(lambda c: c.execute(RUNS.update().values(values)))


def test_a_silent_owner_is_followed_and_its_writes_are_refused(
    url: str, storage: StudyStorage
) -> None:
    study = storage.create("s", {})
    storage.take(study)
    storage.propose(study, Proposal(0, (), False))
    other = StudyStorage(url)
    for refused in (lambda: other.take(other.find("s")), lambda: require_idle(other.find("s"))):
        with pytest.raises(InputError, match="study 's' is running in process") as said:
            refused()
        assert str(said.value.hint).startswith("nest-tune study stop s")  # its trials end saved
    change(storage, beat_s=0.0)  # as if it had slept
    other.take(other.find("s"))
    trial = OuterTrial(0, (), False, Outcome.COMPLETE, {"latency_ms": 1.0})
    for attempt in (
        lambda: storage.finish(study, trial),
        lambda: storage.propose(study, Proposal(1, (), True)),
        lambda: storage.beat(study),
        lambda: storage.add_tasks(study, {"t": {}}),
        lambda: storage.update_document(study, {"a": 1}),
        lambda: storage.release(study, Status.DONE),
    ):
        with pytest.raises(LostStudyError, match="was taken over by process") as caught:
            attempt()
        assert caught.value.exit_code == 1
    assert other.trials(study) == ()
    assert other.find("s").is_running
    other.finish(other.find("s"), trial)
    other.release(study, Status.DONE)
    assert storage.find("s").status is Status.DONE
    other.close()


def test_what_is_not_held_is_written_only_as_it_was_read(url: str, storage: StudyStorage) -> None:
    study = storage.create("s", {})
    other = StudyStorage(url)
    other.take(other.find("s"))
    with pytest.raises(LostStudyError):
        storage.update_document(study, {"late": 1})
    with pytest.raises(LostStudyError):
        storage.delete(study)
    other.close()


@pytest.mark.parametrize(
    ("change_of", "beat_s", "runs"),
    [
        ({}, None, True),
        ({}, 0.0, False),  # asleep
        ({"started": 1}, None, False),  # another process has its id by now
        ({"process": 4194303}, None, False),
        ({"boot": "another/4026531836"}, None, True),  # a container of the same name
        ({"boot": "another/4026531836", "process": 4194303}, None, True),
        ({"boot": "another/4026531836"}, 0.0, False),
        ({"host": "elsewhere", "boot": "b/1"}, None, True),
    ],
)
def test_who_runs_a_study_is_known_by_more_than_a_process_id(
    storage: StudyStorage, change_of: dict[str, object], beat_s: float | None, runs: bool
) -> None:
    study = storage.create("s", {})
    storage.take(study)
    change(storage, process=replace(this_process(), **change_of).text)  # type: ignore[arg-type]
    if beat_s is not None:
        change(storage, beat_s=beat_s)
    assert storage.find("s").is_running is runs


def test_owners_are_read_as_they_were_written() -> None:
    for owner in (this_process(), Owner("a:b", 1, "c/d", 3)):
        assert read_owner(owner.text) == owner
    assert not this_process().has_ended()
    assert replace(this_process(), started=1).has_ended()


def test_a_request_is_seen_between_signs_of_life(url: str, storage: StudyStorage) -> None:
    study = storage.create("s", {})
    storage.take(study)
    assert storage.beat(study) is Request.NONE
    other = StudyStorage(url)
    other.ask(other.find("s"), Request.CANCEL)
    assert storage.beat(study) is Request.CANCEL
    written = sql.select(RUNS.c.beat_s)
    before = storage.run(lambda c: c.execute(written).scalar())
    storage.beat(study)
    assert storage.run(lambda c: c.execute(written).scalar()) == before
    other.close()
