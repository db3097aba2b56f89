"""Several drivers on one database: nothing is measured twice, lost, or waited for crosswise."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sql

from compiler_core.errors import MissingDependencyError
from nest_tune.records.claims import Claims
from nest_tune.records.connection import Connection
from nest_tune.records.database import Key, RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record
from nest_tune.records.sharing import SharedRecords, claim_of

KEYS: list[Key] = [(f"{n % 7:016x}", f"{n:016x}", "t" * 16, 1) for n in range(200)]


def record(
    key: Key, cycles: int | None = 100, outcome: MeasurementOutcome = MeasurementOutcome.CORRECT
) -> Record:
    return Record(*key, outcome, cycles, 7, "{}", "{}").sealed()


def test_drivers_share_measurements_without_measuring_twice(database_url: str) -> None:
    measured: Counter[Key] = Counter()
    lock = threading.Lock()
    barrier = threading.Barrier(4)

    def measure(keys: Sequence[Key]) -> list[Record]:
        with lock:
            measured.update(keys)
        time.sleep(0.002 * len(keys))
        return [record(key) for key in keys]

    def drive(number: int) -> int:
        database = RecordDatabase(database_url)  # all open a new database at once, too
        shared = SharedRecords(database)
        order = random.Random(number).sample(KEYS, len(KEYS))
        barrier.wait(1500)
        for start in range(0, len(order), 16):
            batch = order[start : start + 16]
            assert set(shared.obtain(batch, measure)) == set(batch)
        database.close()
        return shared.found

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(drive, range(4)))
    assert set(measured.values()) == {1}
    assert len(measured) == len(KEYS)
    assert sum(found) == 3 * len(KEYS)
    database = RecordDatabase(database_url)
    assert database.snapshot().records == tuple(sorted(map(record, KEYS), key=lambda r: r.key))
    database.close()


def test_drivers_that_store_the_same_rows_crosswise_do_not_lock_each_other(
    database_url: str,
) -> None:
    databases = [RecordDatabase(database_url) for _ in range(4)]

    def store(number: int) -> None:
        for turn in range(10):
            order = random.Random(10 * number + turn).sample(KEYS, len(KEYS))
            databases[number].add(record(key, 1000 + number) for key in order)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(4)))
    snapshot = databases[0].snapshot()
    assert len(snapshot.records) == len(KEYS)
    assert snapshot.corrupt == 0
    assert {r.cycles for r in snapshot.records} <= set(range(1000, 1004))
    for database in databases:
        database.close()


def test_a_claim_of_a_dead_driver_runs_out(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(Claims, "_now", lambda _self: sql.literal(now_s, sql.Float(53)))
    connection = Connection(database_url)
    dead, live = Claims(connection, lease_s=0.4), Claims(connection, lease_s=60.0)
    assert dead.take(["a", "b"]) == {"a", "b"}
    assert live.take(["a", "c"]) == {"c"}
    dead.renew()
    assert dead.take(["a"]) == {"a"}
    now_s = 1000.6
    assert live.take(["a"]) == {"a"}
    assert dead.take(["a", "b"]) == {"b"}
    live.drop(["a", "c", "unknown"])
    assert dead.take(["a", "c"]) == {"a", "c"}
    connection.close()


def test_what_failed_by_chance_is_measured_again_and_errors_free_the_claims(
    database_url: str,
) -> None:
    database = RecordDatabase(database_url)
    database.add(
        [
            record(KEYS[0], None, MeasurementOutcome.TIMEOUT),
            record(KEYS[1], None, MeasurementOutcome.COMPILE),
        ]
    )
    shared = SharedRecords(database)
    asked: list[Key] = []

    def fail(_keys: Sequence[Key]) -> list[Record]:
        raise KeyboardInterrupt

    def measure(keys: Sequence[Key]) -> list[Record]:
        asked.extend(keys)
        return [record(key) for key in keys]

    with pytest.raises(KeyboardInterrupt):
        shared.obtain(KEYS[:2], fail)
    other = SharedRecords(database)
    found = other.obtain(KEYS[:2], measure)
    assert asked == [KEYS[0]]
    assert found[KEYS[1]].outcome is MeasurementOutcome.COMPILE
    assert claim_of(KEYS[0]) == f"{KEYS[0][0]}:{KEYS[0][1]}:{'t' * 16}:1"
    database.close()


def test_waiting_for_another_driver_can_be_ended(database_url: str) -> None:
    database = RecordDatabase(database_url)
    Claims(database.connection).take([claim_of(KEYS[0])])

    def stop() -> None:
        raise KeyboardInterrupt

    shared = SharedRecords(database, poll=stop)
    never: Callable[[Sequence[Key]], list[Record]] = lambda _keys: pytest.fail("measured")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        shared.obtain(KEYS[:1], never)
    database.close()


def test_a_storage_that_is_gone_for_a_while_loses_nothing(
    postgresql: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database = RecordDatabase(postgresql.url)
    stop = threading.Event()
    stored: list[Key] = []
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not stop.is_set():
                key = ("a" * 16, f"{number:016x}", "t" * 16, 1)
                database.add([record(key)])
                stored.append(key)
                number += 1
        except BaseException as error:
            failures.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(2):
        time.sleep(0.3)
        postgresql.stop()
        before = len(stored)
        words = caplog.text.count("does not answer")
        while caplog.text.count("does not answer") == words:
            time.sleep(0.05)
        postgresql.start()
        end = time.monotonic() + 1500
        while len(stored) <= before + 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(stored) > before + 1
    stop.set()
    writer.join(1500)
    assert not failures
    assert [r.key for r in database.snapshot().records] == stored
    assert "does not answer" in caplog.text
    assert "answers again" in caplog.text
    assert "pa55-word" not in caplog.text
    database.close()


def test_patience_ends(postgresql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(postgresql.url, patience_s=1.0)
    from sqlalchemy import text

    assert connection.run(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
    postgresql.stop()
    begun = time.monotonic()
    try:
        with pytest.raises(MissingDependencyError):
            connection.run(lambda c: c.execute(text("SELECT 1")))
        assert time.monotonic() - begun >= 1.0
        fresh = Connection(postgresql.url)  # what never answered is not waited for
        monkeypatch.setattr("time.sleep", lambda _s: pytest.fail("waited"))
        with pytest.raises(MissingDependencyError):
            fresh.run(lambda c: c.execute(text("SELECT 1")))
        monkeypatch.undo()
    finally:
        postgresql.start()
        connection.close()
