"""Journals: one line per transaction, several processes, what a killed one leaves, damage."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sql

from compiler_core.errors import InputError, MissingDependencyError, ResourceError
from nest_tune.records import journal
from nest_tune.records.connection import Connection
from nest_tune.records.database import RecordDatabase
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome, OuterTrial

_WRITER = """
import sys
from nest_tune.study.store.storage import StudyStorage
storage = StudyStorage(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    storage.create(f"{sys.argv[2]}-{number}", {"text": "x" * 200})
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "n.log"


@pytest.fixture
def url(path: Path) -> str:
    return f"journal:///{path}"


def names(url: str) -> list[str]:
    storage = StudyStorage(url)
    try:
        return [study.name for study in storage.studies()]
    finally:
        storage.close()


def test_what_one_process_writes_another_reads(url: str) -> None:
    one, other = StudyStorage(url), StudyStorage(url)
    study = one.create("s", {"a": 1})
    trial = OuterTrial(0, (1, 2), True, Outcome.COMPLETE, {"latency_ms": 0.1})
    other.add_trial(other.find("s"), trial)
    assert one.trials(study) == (trial,)
    with pytest.raises(InputError, match="the name is taken"):
        other.create("s", {})
    assert one.find("s").document == {"a": 1}
    one.delete(study)
    assert other.studies() == ()
    assert names(url) == []


def test_many_threads_write_at_once(url: str) -> None:
    def write(number: int) -> None:
        storage = StudyStorage(url)
        for step in range(5):
            storage.create(f"{number}-{step}", {})
        storage.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert len(set(names(url))) == 30


def test_a_killed_writer_leaves_a_readable_journal_and_no_lock(url: str, path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    for run in range(2):
        lines = path.read_bytes().count(b"\n") if path.exists() else 0
        command = [sys.executable, "-c", _WRITER, url, str(run)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists() or path.read_bytes().count(b"\n") < lines + 20:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert f"{run}-0" in names(url)


@pytest.mark.parametrize("torn", [1, 5, 40])
def test_an_unfinished_last_line_is_no_line(url: str, path: Path, torn: int) -> None:
    storage = StudyStorage(url)
    storage.create("first", {})
    storage.create("second", {})
    storage.close()
    path.write_bytes(path.read_bytes()[:-torn])
    assert names(url) == ["first"]
    storage = StudyStorage(url)
    storage.create("third", {})
    storage.close()
    assert names(url) == ["first", "third"]


def test_damage_and_other_files_are_refused(url: str, path: Path) -> None:
    storage = StudyStorage(url)
    storage.create("first", {})
    storage.create("second", {})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"first", b"fjrst"))
    with pytest.raises(InputError, match=r"line \d+: its checksum does not hold"):
        StudyStorage(url)
    path.write_bytes(b'{"op_code": 0}\n')
    with pytest.raises(InputError, match="not a journal"):
        StudyStorage(url)
    path.write_bytes(journal._line({"schema": "nest-tune/journal/9"}))
    with pytest.raises(InputError, match="schema 'nest-tune/journal/9'"):
        StudyStorage(url)
    path.write_bytes(content)
    assert names(url) == ["first", "second"]


_FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize(
    "statements",
    [
        [["INSERT INTO study_schema (version) VALUES (?)", [1], False]] * 2,
        [["INSERT INTO nowhere VALUES (1)", [], False]],
        [["no SQL", [], False]],
        [["INSERT INTO study_schema (version) VALUES (?, ?)", [1], False]],
        [["ATTACH DATABASE ? AS other", ["{path}.other"], False]],
        [["VACUUM INTO ?", ["{path}.other"], False]],
        [[_FOREVER, [], False]],
        [["SELECT 1"]],
        [1],
        ["abc"],
        {"a": 1},
        3,
        [[1, 2, 3]],
        [["SELECT ?", 3, False]],
        [["SELECT ?", [{}], False]],
    ],
)
def test_lines_that_cannot_be_done_are_damage(url: str, path: Path, statements: object) -> None:
    StudyStorage(url).close()
    text = json.dumps(statements).replace("{path}", str(path))
    with path.open("ab") as file:
        file.write(journal._checksum(text.encode()) + b" " + text.encode() + b"\n")
    with pytest.raises(InputError, match=r"line \d+: cannot be done after the lines before it"):
        names(url)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "nul"])
def test_lines_that_are_no_json_are_damage(url: str, path: Path, text: str) -> None:
    StudyStorage(url).close()
    with path.open("ab") as file:
        file.write(journal._checksum(text.encode()) + b" " + text.encode() + b"\n")
    with pytest.raises(InputError, match="not JSON"):
        names(url)


def test_a_transaction_that_fails_leaves_nothing(url: str) -> None:
    connection, other = Connection(url), Connection(url)

    def work(transaction: sql.Connection) -> None:
        transaction.execute(sql.text("CREATE TABLE t (n INTEGER)"))
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            connection.run(work)
    other.run(lambda c: c.execute(sql.text("CREATE TABLE t (n INTEGER)")))
    connection.run(lambda c: c.execute(sql.text("INSERT INTO t VALUES (1)")))
    assert other.run(lambda c: c.execute(sql.text("SELECT n FROM t")).scalars().all()) == [1]


def test_a_lock_that_is_held_is_said(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LOCK_WAIT_S", 0.05)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(MissingDependencyError, match="locked by another process"):
            StudyStorage(url)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="No such file"):
        StudyStorage(f"journal:///{tmp_path / 'none' / 'deeper' / 'n.log'}")


def test_a_full_disk_costs_the_transaction_alone(url: str, path: Path) -> None:
    storage = StudyStorage(url)
    storage.create("first", {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(ResourceError, match="File too large: nothing more can be stored"):
            storage.create("second", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [study.name for study in storage.studies()] == ["first"]
    storage.create("third", {})
    assert names(url) == ["first", "third"]


def test_records_are_kept_too(url: str) -> None:
    database = RecordDatabase(url)
    assert database.newest() == 0
    assert database.snapshot().records == ()
    database.close()
