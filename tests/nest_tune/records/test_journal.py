"""Journals: one line per transaction, several processes, what a killed one leaves, damage."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import (
    InputError,
    InternalError,
    MissingDependencyError,
    ResourceError,
)
from nest_tune.records import journal
from nest_tune.records.claims import _CLAIMS, _TABLES
from nest_tune.records.connection import Connection
from nest_tune.records.database import RecordDatabase
from nest_tune.records.journal import line_of
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
    """What is ours beside the journal."""
    return tmp_path / "n.log.records"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"journal:///{tmp_path / 'n.log'}"


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
    other.finish(other.find("s"), trial)
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
    storage.delete(storage.create("second", {}))
    storage.create("second", {})
    storage.delete(storage.find("second"))
    storage.close()
    path.write_bytes(path.read_bytes()[:-torn])
    assert names(url) == ["first"]
    storage = StudyStorage(url)
    storage.create("third", {})
    storage.close()
    assert names(url) == ["first", "third"]


def test_other_files_are_refused(url: str, path: Path) -> None:
    for content, said in (
        (b'{"op_code": 0}\n', "not a journal"),
        (line_of({"schema": "nest-tune/journal/9"}), "schema 'nest-tune/journal/9'"),
        (line_of(["schema"]), "schema None"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            StudyStorage(url)


def test_a_damaged_line_harms_its_study_alone_and_is_named(url: str, path: Path) -> None:
    storage = StudyStorage(url)
    for name in ("first", "second", "third"):
        storage.create(name, {"text": f"of {name}"})
    storage.close()
    path.write_bytes(path.read_bytes().replace(b"of second", b"of sEcond"))
    storage = StudyStorage(url)
    assert [study.name for study in storage.studies()] == ["first", "third"]
    assert list(storage.scan()[1]) == ["second"]
    assert list(storage.connection.damaged.values()) == ["its checksum does not hold"]
    with pytest.raises(InputError, match="study 'second': its row is damaged"):
        storage.find("second")
    storage.update_document(storage.find("third"), {"text": "changed"})
    storage.close()
    storage = StudyStorage(url)
    assert storage.find("third").document == {"text": "changed"}


@pytest.mark.parametrize(
    "operations",
    [
        ["INSERT INTO nest_tune_study_schema (version) VALUES (9)", [], False],
        [["put", "nest_tune_study_schema", 9, {}]],
        [["put", "nest_tune_study_schema", 9, {"version": "9"}]],
        [["put", "nest_tune_study_schema", 9, {"version": True}]],
        [["put", "nest_tune_study_schema", 9, {"version": None}]],
        [["put", "nest_tune_study_schema", 9, {"version": 10**30}]],
        [["put", "nest_tune_study_schema", 9, {"version": 9, "more": 1}]],
        [["put", "nest_tune_study_schema", -9, {"version": 9}]],
        [["put", "nest_tune_study_schema", 9]],
        [["drop", "nest_tune_study_schema", "1"]],
        [["drop", "nest_tune_study_schema"]],
        [["run", "nest_tune_study_schema", 1]],
        [1],
        ["abc"],
        {"a": 1},
        3,
        None,
    ],
)
def test_lines_that_are_no_operations_do_nothing(url: str, path: Path, operations: object) -> None:
    StudyStorage(url).close()
    with path.open("ab") as file:
        file.write(line_of(operations))
    storage = StudyStorage(url)
    assert len(storage.connection.damaged) == 1
    storage.create("s", {})
    assert names(url) == ["s"]


def test_rows_of_tables_that_are_not_known_are_passed_over(url: str, path: Path) -> None:
    StudyStorage(url).close()
    with path.open("ab") as file:
        file.write(line_of([["put", "sqlite_master", 1, {"sql": "x"}], ["drop", "later", 3]]))
    storage = StudyStorage(url)
    assert not storage.connection.damaged
    assert storage.studies() == ()


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"nul"])
def test_lines_that_are_no_json_are_passed_over(url: str, path: Path, text: bytes) -> None:
    StudyStorage(url).close()
    with path.open("ab") as file:
        file.write(f"{zlib.crc32(text):08x}".encode() + b" " + text + b"\n")
    storage = StudyStorage(url)
    assert list(storage.connection.damaged.values()) == ["not JSON"]


_row = st.tuples(
    st.sampled_from(["put", "drop"]), st.integers(0, 5), st.text(max_size=5), st.floats(0, 9)
)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.lists(_row, max_size=4), max_size=8))
def test_what_is_replayed_is_what_was_done(steps: list[list[tuple[str, int, str, float]]]) -> None:
    """Claims put and dropped in transactions: another process sees the same as the writer."""
    with TemporaryDirectory() as folder:
        writer = Connection(f"journal:///{folder}/n.log")
        writer.make_tables(_TABLES.create_all)
        for step in steps:

            def work(connection: sql.Connection, step: Any = step) -> None:
                for kind, key, owner, until_s in step:
                    connection.execute(_CLAIMS.delete().where(_CLAIMS.c.key == str(key)))
                    if kind == "put":
                        row = {"key": str(key), "owner": owner, "until_s": until_s}
                        connection.execute(_CLAIMS.insert().values(row))

            writer.run(work)
        query = sql.select(_CLAIMS).order_by(_CLAIMS.c.key)
        reader = Connection(f"journal:///{folder}/n.log")
        assert reader.run(lambda c: c.execute(query).all()) == writer.run(
            lambda c: c.execute(query).all()
        )


def test_a_transaction_that_fails_leaves_nothing(url: str) -> None:
    connection, other = Connection(url), Connection(url)
    row = _CLAIMS.insert().values({"key": "k", "owner": "o", "until_s": 1.0})

    def work(transaction: sql.Connection) -> None:
        transaction.execute(row)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            connection.run(work)
    keys = sql.select(_CLAIMS.c.key)
    assert other.run(lambda c: c.execute(keys).scalars().all()) == []
    connection.run(lambda c: c.execute(row))
    assert other.run(lambda c: c.execute(keys).scalars().all()) == ["k"]


def test_tables_that_no_journal_keeps_are_a_fault_of_ours(url: str) -> None:
    connection = Connection(url)
    with pytest.raises(InternalError, match="no journal keeps: t"):
        connection.run(lambda c: c.execute(sql.text("CREATE TABLE t (n INTEGER)")))


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
    optuna_size = path.with_suffix("").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(path.stat().st_size, optuna_size) + 10, hard))
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
