"""Storages that are full, read-only, or gone: what is said, and what can still be read."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError

from compiler_core.errors import MissingDependencyError, ResourceError
from nest_tune.records.claims import Claims
from nest_tune.records.connection import Connection
from nest_tune.records.database import RecordDatabase
from nest_tune.records.storage_errors import storage_error
from nest_tune.study.store.storage import StudyStorage


@contextmanager
def no_more_room() -> Iterator[None]:
    """No file of this process grows: every write behind the end of the smallest fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["sqlite", "journal"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}:///{tmp_path / 'n.db'}"


def test_a_storage_without_its_tables_is_not_said_to_be_out_of_reach(tmp_path: Path) -> None:
    storage = StudyStorage(f"sqlite:///{tmp_path / 'n.db'}")
    storage.create("s", {})
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute("DROP TABLE study_system_attributes")
    with pytest.raises(MissingDependencyError, match="no such table") as caught:
        storage.create("t", {})
    assert "restore" in (caught.value.hint or "")


def test_no_room_costs_what_is_stored_then_alone(url: str) -> None:
    storage = StudyStorage(url)
    claims = Claims(storage.connection)
    study = storage.create("s", {})
    with no_more_room():
        for attempt in (
            lambda: storage.create("t", {"text": "x" * 9000}),
            lambda: storage.add_result("key", "x" * 9000),
            lambda: claims.take(["x" * 200 for _ in range(3)]),
            lambda: RecordDatabase(url.replace("n.db", "fresh.db")),
        ):
            with pytest.raises(ResourceError, match="nothing more can be stored") as caught:
                attempt()
            assert caught.value.exit_code == 5
            assert "free some space" in str(caught.value.hint)
    assert storage.studies() == (study,)
    storage.create("t", {})
    storage.close()
    again = StudyStorage(url)
    assert [found.name for found in again.studies()] == ["s", "t"]
    again.close()


def test_a_full_server_is_a_lack_too() -> None:
    said = "could not extend file: No space left on device"
    error = OperationalError("insert", None, Exception(said))
    assert isinstance(storage_error("postgresql://h/d", error), ResourceError)


def test_a_read_only_database_can_be_read_and_says_what_cannot_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'n.db'}"
    storage = StudyStorage(url)
    storage.create("s", {"a": 1})
    storage.close()
    before = (tmp_path / "n.db").read_bytes()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere
    storage = StudyStorage(url, create=False)
    assert storage.find("s").document == {"a": 1}
    with pytest.raises(MissingDependencyError, match="readonly database") as caught:
        storage.create("t", {})
    assert "written" in str(caught.value.hint)
    storage.close()
    assert [path.name for path in tmp_path.iterdir()] == ["n.db"]
    assert (tmp_path / "n.db").read_bytes() == before


def test_a_database_that_was_removed_is_not_written_to(url: str, tmp_path: Path) -> None:
    storage = StudyStorage(url)
    storage.create("s", {})
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"moved-{path.name}"))
    with pytest.raises(ResourceError, match=r"n\.db(\.records)? is gone: No such file"):
        storage.create("t", {})
    for name in ("n.db", "n.db.records"):
        (tmp_path / name).touch()
    with pytest.raises(ResourceError, match=r"n\.db(\.records)? has been replaced by another one"):
        storage.studies()
    assert (tmp_path / "n.db").stat().st_size == 0
    storage.close()


def test_a_database_stays_the_same_in_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    connection = Connection("sqlite:///n.db")
    monkeypatch.chdir(tmp_path / "other")
    connection.run(lambda c: c.execute(sql.text("CREATE TABLE t (n INTEGER)")))
    connection.close()
    assert connection.file == tmp_path / "n.db"
    assert not list((tmp_path / "other").iterdir())


def test_what_the_operating_system_said_stays() -> None:
    cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    found = storage_error("journal:///n", OperationalError("write", None, cause))
    assert isinstance(found, ResourceError)
    assert "No space left on device" in found.message
