"""Records: stored once, found again, never believed when their checksum does not hold."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window
from compiler_core.units.vta.schedule.schedule import ConvSchedule, MaxPoolSchedule
from nest_tune.api import records as api
from nest_tune.records import database as database_module
from nest_tune.records.database import SCHEMA_VERSION, RecordDatabase, tally_of
from nest_tune.records.jsonl import read_records, write_records
from nest_tune.records.record import (
    MeasurementOutcome,
    Record,
    record_from_plain,
    record_of,
    record_to_plain,
)

CONV = Task("vta", ConvWorkload(1, 16, 8, 8, 16, Window((1, 1)), 1, Epilogue(17, True, True, True)))
POOL = Task("vta", MaxPoolWorkload(1, 16, 8, 8, Window((2, 2), (2, 2))))


def conv_record(height: int, cycles: int | None = 100, lowering: int = 1) -> Record:
    outcome = MeasurementOutcome.CORRECT if cycles else MeasurementOutcome.COMPILE
    schedule = ConvSchedule(height, 1, 1, 1)
    return record_of(CONV, schedule, "target", lowering, outcome, cycles, 7)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


def test_records_are_found_again_by_another_process(url: str) -> None:
    pool = record_of(POOL, MaxPoolSchedule(1, 1, 1), "target", 1, MeasurementOutcome.CORRECT, 9, 0)
    given_ones = [conv_record(1), conv_record(2, None), conv_record(1, lowering=2), pool]
    database = RecordDatabase(url)
    assert database.add(given_ones) == 4
    database.close()
    again = RecordDatabase(url)
    assert set(again.snapshot().records) == set(given_ones)
    assert again.snapshot(lowering=2).records == (given_ones[2],)
    assert again.snapshot(task=POOL.workload.digest).records == (pool,)
    assert again.snapshot(target="other").records == ()
    assert pool.task_value() == POOL
    assert pool.schedule_value() == MaxPoolSchedule(1, 1, 1)
    again.close()


def test_a_later_record_replaces_and_changes_the_snapshot(url: str) -> None:
    database = RecordDatabase(url)
    database.add([conv_record(1, 100), conv_record(2, 50)])
    before = database.snapshot()
    database.add([conv_record(2, 50)])
    assert database.snapshot().digest == before.digest
    database.add([conv_record(1, 90)])
    after = database.snapshot()
    assert [record.cycles for record in after.records].count(90) == 1
    assert len(after.records) == 2
    assert after.digest != before.digest
    database.close()


def test_a_snapshot_of_a_moment_stays_what_it_was(url: str) -> None:
    database = RecordDatabase(url)
    database.add([conv_record(1, 100), conv_record(2, 50)])
    moments = [(database.newest(), database.snapshot())]
    for cycles in (90, 80):
        database.add([conv_record(1, cycles), conv_record(3 + cycles)])
        moments.append((database.newest(), database.snapshot()))
    database.add([conv_record(1, 70), conv_record(2, 50)])
    for newest, before in moments:
        again = database.snapshot(until=newest)
        assert again.records == before.records
        assert again.digest == before.digest
    assert [r.cycles for r in database.snapshot().records].count(70) == 1
    database.close()


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_corrupt_rows_are_skipped_counted_and_removed(
    url: str, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nest_tune.records.database._BATCH", batch)
    database = RecordDatabase(url)
    database.add([conv_record(height) for height in range(1, 6)])
    raw = sqlite3.connect(tmp_path / "records.db")
    raw.execute("UPDATE nest_tune_record SET cycles = 1 WHERE number = 2")
    raw.execute("UPDATE nest_tune_record SET outcome = 'strange' WHERE number = 4")
    raw.commit()
    raw.close()
    snapshot = database.snapshot()
    assert len(snapshot.records) == 3
    assert snapshot.corrupt == 2
    assert all(record.cycles == 100 for record in snapshot.records)
    assert database.remove_corrupt() == 2
    assert database.snapshot().corrupt == 0
    database.close()


def test_journal_is_a_write_ahead_log(url: str, tmp_path: Path) -> None:
    database = RecordDatabase(url)
    database.add([conv_record(1)])
    raw = sqlite3.connect(tmp_path / "records.db")
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    database.close()


def test_older_schema_is_migrated_and_newer_refused(url: str, tmp_path: Path) -> None:
    database = RecordDatabase(url)
    database.add([conv_record(1), conv_record(2)])
    database.close()
    raw = sqlite3.connect(tmp_path / "records.db")
    raw.execute("ALTER TABLE nest_tune_record DROP COLUMN dram_bytes")
    raw.execute("UPDATE nest_tune_record_schema SET version = 1")
    raw.commit()
    raw.close()
    migrated = RecordDatabase(url)
    snapshot = migrated.snapshot()
    assert [record.dram_bytes for record in snapshot.records] == [0, 0]
    assert snapshot.corrupt == 0
    migrated.close()
    raw = sqlite3.connect(tmp_path / "records.db")
    raw.execute("UPDATE nest_tune_record_schema SET version = 99")
    raw.commit()
    raw.close()
    with pytest.raises(InputError, match=f"schema 99; this version knows up to {SCHEMA_VERSION}"):
        RecordDatabase(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a database URL"),
        ("nonsense://x", "sqlite, postgresql or mysql"),
        ("oracle://host/db", "sqlite, postgresql or mysql"),
    ],
)
def test_wrong_storage_is_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RecordDatabase(url)


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(MissingDependencyError, match="unable to open"):
        RecordDatabase("sqlite:////no/such/folder/x.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.write_bytes(b"no database at all, and long enough to be read as one" * 100)
    with pytest.raises(InputError, match="not a database"):
        RecordDatabase(f"sqlite:///{path}")


def test_passwords_are_not_in_the_name() -> None:
    with pytest.raises(NestTuneError) as caught:  # no server there, or no driver here
        RecordDatabase("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    assert "secret" not in caught.value.message


def test_json_lines_round_trip_and_wrong_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = [conv_record(1), conv_record(2, None)]
    with path.open("wb") as stream:
        assert write_records(records, stream) == 2
    assert [entry for _, entry in read_records(path)] == records
    tampered = {**record_to_plain(records[0]), "cycles": 1}
    with path.open("ab") as stream:
        stream.write(b"\n{]\n\xff\n" + json.dumps(tampered).encode() + b"\n[]\n")
    entries = list(read_records(path))
    assert [number for number, _ in entries] == [1, 2, 4, 5, 6, 7]
    messages = [entry.message for _, entry in entries if isinstance(entry, InputError)]
    assert len(messages) == 4
    assert "line 6: checksum" in messages[2]
    assert "line 7: not a record" in messages[3]


def test_digests_have_to_fit_their_content() -> None:
    wrong = replace(conv_record(1), task="0" * 16).sealed()
    with pytest.raises(InputError, match="not the key of its workload"):
        record_from_plain(record_to_plain(wrong), "x")
    wrong = replace(conv_record(1), schedule="0" * 16).sealed()
    with pytest.raises(InputError, match="not the digest of its values"):
        record_from_plain(record_to_plain(wrong), "x")


PLAIN = st.none() | st.integers() | st.text()
KEYS = st.sampled_from(["task", "schedule", "cycles", "workload", "x"])
DOCUMENTS = st.recursive(PLAIN, lambda s: st.lists(s) | st.dictionaries(KEYS, s), max_leaves=8)


@given(DOCUMENTS)
def test_any_document_gives_a_record_or_a_clear_error(document: object) -> None:
    with pytest.raises(InputError, match="here"):
        record_from_plain(document, "here")


def test_records_are_read_one_by_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """List, export and import meet every record once, whatever the size of their steps."""
    monkeypatch.setattr(api, "_IMPORTED", 2)
    monkeypatch.setattr(api, "_REASONS", 2)
    monkeypatch.setattr(database_module, "_BATCH", 3)
    monkeypatch.setattr(database_module, "_TEXTS", 1)
    given_ones = [conv_record(height, 100 + height) for height in range(1, 12)]
    database = RecordDatabase(url)
    database.add(given_ones)
    whole = database.snapshot()
    assert database.read(lambda records: [*records]) == [*whole.records]
    tally = database.read(tally_of)
    assert (tally.records, tally.corrupt, tally.digest) == (11, 0, whole.digest)
    first = database.read(lambda records: next(iter(records)))  # not all have to be read
    assert first == whole.records[0]
    database.close()
    file, other = Path(url.removeprefix("sqlite:///")).parent / "r.jsonl", url + ".copy"
    listed = api.export_records(file, url)
    assert (listed.records, listed.digest) == (11, whole.digest)
    assert api.list_records(url) == listed
    with file.open("ab") as stream:
        stream.write(b"{}\n" * 3)
    imported = api.import_records(file, other)
    assert (imported.imported, imported.skipped, len(imported.reasons)) == (11, 3, 2)
    assert replace(api.list_records(other), storage=listed.storage) == listed
    assert api.verify_records(other).records == 11
