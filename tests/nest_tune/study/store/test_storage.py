"""Storage of studies: round trips, several processes at once, versions, damage."""

from __future__ import annotations

import json
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.records.owner import this_process
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request, Status
from nest_tune.study.store.study_rows import LostStudyError
from nest_tune.study.store.trial_document import seal
from nest_tune.study.trial import Outcome, OuterTrial

finite = st.floats(allow_nan=False, allow_infinity=False)
trials = st.builds(
    OuterTrial,
    number=st.integers(0, 10**6),
    point=st.lists(st.integers(0, 100)).map(tuple),
    tuned=st.booleans(),
    outcome=st.sampled_from(Outcome),
    metrics=st.dictionaries(st.text(), finite),
    accuracy_samples=st.integers(0, 10**6),
    hits=st.text("0123456789abcdef"),
    subset_accuracy=st.none() | finite,
    settled=st.booleans(),
    message=st.text(),
    attributes=st.dictionaries(st.text(), st.integers() | st.text()),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'n.db'}"


@settings(max_examples=50)
@given(trials)
def test_trials_come_back_as_they_were(trial: OuterTrial) -> None:
    storage = StudyStorage("sqlite://")
    study = storage.create("s", {"settings": {}})
    storage.finish(study, trial)
    assert storage.trials(study) == (trial,)
    storage.close()


def test_many_processes_may_open_a_new_storage_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: StudyStorage(url), range(8)))
    for storage in opened:
        assert storage.studies() == ()
        storage.close()


def test_a_name_is_taken_once(url: str) -> None:
    storage = StudyStorage(url)
    storage.create("s", {})
    with pytest.raises(InputError, match="the name is taken"):
        storage.create("s", {})
    with pytest.raises(InputError, match="it holds s"):
        storage.find("t")
    storage.close()


def test_requests_reach_the_process_that_runs_a_study(url: str) -> None:
    runner, other = StudyStorage(url), StudyStorage(url)
    study = runner.create("s", {})
    runner.take(study)
    assert other.find("s").is_running
    assert runner.beat(study) is Request.NONE
    other.ask(other.find("s"), Request.STOP)
    assert runner.beat(study) is Request.STOP
    runner.release(study, Status.STOPPED)
    assert not other.find("s").is_running
    assert other.find("s").status is Status.STOPPED
    runner.close()
    other.close()


def test_a_study_whose_process_died_is_not_running(url: str, tmp_path: Path) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", {})
    storage.take(study)
    with sqlite3.connect(tmp_path / "n.db") as database:
        process = "UPDATE nest_tune_study_run SET process = ?"
        database.execute(process, (replace(this_process(), process=4194303).text,))
    database.close()
    assert not storage.find("s").is_running
    other = StudyStorage(url)
    other.take(other.find("s"))
    assert storage.find("s").is_running
    with pytest.raises(LostStudyError, match="was taken over by process"):
        storage.beat(study)
    other.close()
    storage.close()


def test_a_newer_schema_is_refused(url: str, tmp_path: Path) -> None:
    StudyStorage(url).close()
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute("UPDATE nest_tune_study_schema SET version = 99")
    database.close()
    with pytest.raises(InputError, match="studies of schema 99"):
        StudyStorage(url)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "n.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="not a database"):
        StudyStorage(f"sqlite:///{tmp_path / 'n.db'}")
    with pytest.raises(MissingDependencyError, match="unable to open"):
        StudyStorage(f"sqlite:///{tmp_path / 'no' / 'where' / 'n.db'}")
    with pytest.raises(InputError, match="there is no file"):
        StudyStorage(f"sqlite:///{tmp_path / 'm.db'}", create=False)


def test_passwords_are_not_shown() -> None:
    with pytest.raises((InputError, MissingDependencyError)) as caught:
        StudyStorage("postgresql+psycopg://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)


def test_results_are_kept_by_key_once(url: str) -> None:
    storage = StudyStorage(url)
    storage.add_result("k", {"a": [1, 2.5]})
    storage.add_result("k", {"a": "ignored"})
    assert storage.results(["k", "other"]) == {"k": {"a": [1, 2.5]}}
    storage.close()


def test_a_missing_driver_is_named_and_passwords_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(MissingDependencyError, match=r"pymysql.* is not installed") as caught:
        StudyStorage("mysql+pymysql://user:secret@host/db")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint == "pip install 'nest-tune[mysql]'"


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/out/studies.db"
    with pytest.raises(InputError, match="there is no file"):
        StudyStorage(url, create=False)
    assert not (tmp_path / "out").exists()
    StudyStorage(url).close()
    assert (tmp_path / "out" / "studies.db").is_file()


_FIXED = {
    "settings": {},
    "digests": {"model": "00"},
    "records": {"newest": 0, "digest": "", "count": 0},
    "guesses": {"partition": [[0, 1]]},
    "parameters": [["bits", [4, 8]], ["unit", ["cpu"]]],
}


@pytest.mark.parametrize(
    "point", [[], [0], [0, 0, 0], [2, 0], [0, 1], [-1, 0], ["0", 0], [0.0, 0], [True, 0], {}, None]
)
def test_points_of_another_space_are_damage(url: str, tmp_path: Path, point: object) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", _FIXED)
    storage.finish(study, OuterTrial(0, (1, 0), False, Outcome.COMPLETE, {}, 1, ""))
    assert [trial.point for trial in storage.trials(study)] == [(1, 0)]
    with sqlite3.connect(tmp_path / "n.db") as database:
        text = database.execute("SELECT value_json FROM trial_user_attributes").fetchone()[0]
        document = {k: v for k, v in json.loads(text).items() if k != "digest"}
        changed = seal({**document, "point": point})
        database.execute("UPDATE trial_user_attributes SET value_json = ?", (changed,))
    database.close()
    with pytest.raises(InputError, match="study 's': a stored trial is damaged"):
        storage.trials(storage.find("s"))
    storage.close()


def test_a_document_that_was_changed_is_damage(url: str, tmp_path: Path) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", {})
    storage.finish(study, OuterTrial(0, (), False, Outcome.COMPLETE, {"latency_ms": 2.5}))
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = replace(value_json, '2.5', '1.5')"
        )
    database.close()
    with pytest.raises(InputError, match="study 's': a stored trial is damaged"):
        storage.trials(study)
    storage.close()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("settings", []),
        ("settings", {"storage": 3}),
        ("folder", 1),
        ("digests", ["model"]),
        ("digests", {"model": None}),
        ("records", {"newest": "0", "digest": "", "count": 0}),
        ("records", {}),
        ("file", "study.toml"),
        ("default_scheme", []),
        ("guesses", {"partition": [0, 1]}),
        ("guesses", {"partition": [[-1]]}),
        ("parameters", {}),
        ("parameters", [["bits", []]]),
        ("parameters", [["bits"]]),
        ("parameters", [[1, [4, 8]]]),
    ],
)
def test_what_was_fixed_at_the_start_has_its_form(url: str, part: str, value: object) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", _FIXED)
    assert storage.find("s").document == _FIXED
    storage.update_document(study, {**_FIXED, part: value})
    with pytest.raises(InputError, match=f"study 's': {part} is damaged in the storage"):
        storage.find("s")
    storage.close()


def test_a_part_that_is_gone_is_damage(url: str) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", {"settings": {}})
    with pytest.raises(InputError, match="study 's': records is damaged"):
        study.fixed("records")
    storage.close()


@pytest.mark.parametrize(
    "process", ["", "x", "host:1", "host:-1:boot:3", "h:1.5:b:2", "h:1:b:x", f"h:{'9' * 5000}:b:1"]
)
def test_owners_that_name_no_process_own_nothing(url: str, tmp_path: Path, process: str) -> None:
    storage = StudyStorage(url)
    study = storage.create("s", {})
    storage.take(study)
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute("UPDATE nest_tune_study_run SET process = ?", (process,))
    database.close()
    assert not storage.find("s").is_running
    storage.close()
