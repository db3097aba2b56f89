"""Studies of earlier versions are taken over; a journal of theirs can do nothing but hold rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from nest_tune.records import old_journal as old_journal_module
from nest_tune.records.journal import line_of
from nest_tune.records.old_journal import read_old_journal
from nest_tune.study.store.importing import import_old
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial

Run = Callable[..., tuple[int, str, str]]
DOCUMENT = {"parameters": [["bits", [4, 8]], ["unit", ["cpu", "vta"]]]}
TRIALS = tuple(
    OuterTrial(n, (n % 2, 1), n > 0, Outcome.COMPLETE, {"latency_ms": 0.5 + n}) for n in range(3)
)
_TABLES = (
    "CREATE TABLE study_schema (version INTEGER NOT NULL, PRIMARY KEY (version))",
    "CREATE TABLE study (id INTEGER NOT NULL, name VARCHAR(200) NOT NULL, created_s FLOAT NOT NULL,"
    " status VARCHAR(20) NOT NULL, request VARCHAR(20) NOT NULL, owner VARCHAR(200) NOT NULL,"
    " beat_s FLOAT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (id), UNIQUE (name))",
    "CREATE TABLE study_trial (study INTEGER NOT NULL, number INTEGER NOT NULL,"
    " outcome VARCHAR(20) NOT NULL, document TEXT NOT NULL, PRIMARY KEY (study, number),"
    " FOREIGN KEY(study) REFERENCES study (id) ON DELETE CASCADE)",
    "CREATE TABLE study_task (study INTEGER NOT NULL, task VARCHAR(100) NOT NULL,"
    " document TEXT NOT NULL, PRIMARY KEY (study, task))",
    "CREATE TABLE study_result (key VARCHAR(64) NOT NULL, document TEXT NOT NULL,"
    " PRIMARY KEY (key))",
)
_ROW = "INSERT INTO study VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def _statements() -> list[tuple[str, list[Any]]]:
    found: list[tuple[str, list[Any]]] = [(text, []) for text in _TABLES]
    found.append(("INSERT INTO study_schema (version) VALUES (?)", [1]))
    values = [1, "mine", 1000.5, "done", "", "", 0.0, json.dumps(DOCUMENT)]
    found.append((_ROW, values))
    insert = "INSERT INTO study_trial (study, number, outcome, document) VALUES (?, ?, ?, ?)"
    for trial in TRIALS:
        text = json.dumps(to_plain(trial))
        found.append((insert, [1, trial.number, trial.outcome.value, text]))
    found.append(("INSERT INTO study_task VALUES (?, ?, ?)", [1, "task", '{"cycles": 3}']))
    found.append(("INSERT INTO study_result VALUES (?, ?)", ["key", "[1, 2.5]"]))
    found.append(("INSERT INTO study_result VALUES (?, ?)", ["torn", "[1, 2"]))
    return found


def old_database(path: Path) -> Path:
    with sqlite3.connect(path) as database:
        for statement, values in _statements():
            database.execute(statement, values)
    database.close()
    return path


def old_journal(path: Path, *more: tuple[str, list[Any]]) -> Path:
    lines = [line_of({"schema": "nest-tune/journal/1"})]
    lines += [line_of([[text, values, False]]) for text, values in (*_statements(), *more)]
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("make", [old_database, old_journal])
@pytest.mark.parametrize("target", ["sqlite:///{}/new.db", "journal:///{}/new.log"])
def test_a_study_comes_over_whole(
    make: Callable[[Path], Path], target: str, tmp_path: Path
) -> None:
    source = make(tmp_path / "old")
    before = source.read_bytes()
    storage = StudyStorage(target.format(tmp_path))
    found = import_old(str(source), storage)
    assert (dict(found.studies), dict(found.skipped)) == ({"mine": 3}, {})
    study = storage.find("mine")
    assert (study.document, study.status, study.created_s) == (DOCUMENT, Status.DONE, 1000.5)
    assert storage.trials(study) == TRIALS
    assert storage.tasks(study) == {"task": {"cycles": 3}}
    assert storage.results(["key", "torn"]) == {"key": [1, 2.5]}
    assert "taken" in import_old(str(source), storage).skipped["mine"]
    assert source.read_bytes() == before
    storage.close()


def test_an_old_database_says_how(tmp_path: Path, nest_tune: Run) -> None:
    url = f"sqlite:///{old_database(tmp_path / 'old.db')}"
    code, out, err = nest_tune("study", "list", "--storage", url)
    assert code == 0
    assert f"nest-tune study import {url}" in err
    code, _, err = nest_tune("study", "show", "mine", "--storage", url)
    assert code == 2
    assert f"hint: nest-tune study import {url}" in err
    code, out, _ = nest_tune("study", "import", url, "--storage", url, "--json")
    assert code == 0
    assert json.loads(out)["studies"] == {"mine": 3}
    code, _, err = nest_tune("study", "list", "--storage", url)
    old_journal(tmp_path / "old.log")
    code, _, err = nest_tune("study", "list", "--storage", f"journal:///{tmp_path}/old.log")
    assert code == 2
    assert "nest-tune study import" in err


def test_a_damaged_study_is_named_and_the_others_come(tmp_path: Path) -> None:
    path = old_database(tmp_path / "old.db")
    with sqlite3.connect(path) as database:
        database.execute(_ROW, [2, "whole", 1.0, "running", "", "h:1", 0.0, json.dumps(DOCUMENT)])
        database.execute("UPDATE study_trial SET document = '{}' WHERE number = 1")
    database.close()
    storage = StudyStorage(f"sqlite:///{tmp_path}/new.db")
    found = import_old(str(path), storage)
    assert dict(found.studies) == {"whole": 0}
    assert "trial 1 is damaged" in found.skipped["mine"]
    assert storage.find("whole").status is Status.STOPPED
    storage.close()


@pytest.mark.parametrize("content", [b"", b"no database" * 200, line_of({"schema": "other"})])
def test_what_holds_no_studies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "old"
    path.write_bytes(content)
    with StudyStorageAt(tmp_path) as storage, pytest.raises(InputError):
        import_old(str(path), storage)
    with StudyStorageAt(tmp_path) as storage, pytest.raises(InputError, match="no such file"):
        import_old(str(tmp_path / "nowhere"), storage)


def test_no_line_of_an_old_journal_runs_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [(f"INSERT INTO study_result VALUES ('k{n}', '{n}')", []) for n in range(10)]
    join = (
        "INSERT INTO study_result SELECT a.key || b.key || c.key, 'x' FROM study_result a, "
        "study_result b, study_result c"
    )
    path = old_journal(tmp_path / "old.log", *many, (join, []))
    read_old_journal(path).close()
    monkeypatch.setattr(old_journal_module, "_STEPS", 20_000)
    with pytest.raises(InputError, match=r"line \d+: interrupted"):
        read_old_journal(path)


class StudyStorageAt:
    """A storage that is closed at the end."""

    def __init__(self, folder: Path) -> None:
        self._storage = StudyStorage(f"sqlite:///{folder}/new.db")

    def __enter__(self) -> StudyStorage:
        return self._storage

    def __exit__(self, *_: object) -> None:
        self._storage.close()


_FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("ATTACH DATABASE ? AS other", ["{}/written"]),
        ("VACUUM INTO ?", ["{}/written"]),
        (_FOREVER, []),
        ("SELECT load_extension(?)", ["x"]),
        ("SELECT writefile(?, 'x')", ["{}/written"]),
        ("CREATE TABLE other (n INTEGER)", []),
        ("CREATE TRIGGER t AFTER INSERT ON study BEGIN SELECT 1; END", []),
        ("CREATE VIRTUAL TABLE t USING fts5(x)", []),
        ("DROP TABLE study", []),
        ("PRAGMA writable_schema = 1", []),
        ("DELETE FROM nowhere", []),
        ("no SQL", []),
        ("SELECT ?", []),
    ],
)
def test_old_journals_hold_rows_and_do_nothing_else(
    tmp_path: Path, statement: str, values: list[str]
) -> None:
    given = [value.format(tmp_path) for value in values]
    path = old_journal(tmp_path / "old.log", (statement, given))
    with pytest.raises(InputError, match=r"line \d+: "):
        read_old_journal(path).close()
    assert not (tmp_path / "written").exists()
