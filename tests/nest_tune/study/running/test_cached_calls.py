"""Calls of several drivers: each is made once, whoever makes it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sql

from nest_tune.records.claims import Claims
from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.tables import RESULTS


class Slow:
    """A runner that takes its time, and loses or refuses some calls."""

    def __init__(self, made: Counter[Any], lock: threading.Lock) -> None:
        self._made, self._lock = made, lock
        self._works: list[Work] = []

    def submit(self, work: Work) -> None:
        with self._lock:
            self._made[work.payload] += 1
        self._works.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        time.sleep(min(timeout_s, 0.01))
        work = self._works.pop(0)
        if work.payload == 5:
            return [Answer(work.ticket, Ending.ERROR, error="InputError", message="wrong")]
        return [Answer(work.ticket, Ending.DONE, value=work.payload * 2)]

    def cancel(self, ticket: int) -> None:
        raise AssertionError(ticket)

    def close(self) -> None:
        """Nothing runs."""


def test_drivers_make_a_call_once(database_url: str) -> None:
    made: Counter[Any] = Counter()
    lock, barrier = threading.Lock(), threading.Barrier(3)

    def drive(_number: int) -> dict[int, Answer]:
        storage = StudyStorage(database_url)
        calls = Calls(Slow(made, lock), storage, "context", 60.0)
        answers: dict[int, Answer] = {}
        barrier.wait(1500)
        for payload in range(12):
            calls.start("m:f", payload, lambda a, p=payload: answers.__setitem__(p, a))  # type: ignore[misc]
        calls.drain()
        calls.close()
        storage.close()
        return answers

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(drive, range(3)))
    for answers in results:
        assert answers[5].message == "wrong"
        assert {p: a.value for p, a in answers.items() if p != 5} == {
            p: 2 * p for p in range(12) if p != 5
        }
    assert made.pop(5) == 3  # what failed is nobody's result
    assert set(made.values()) == {1}


def test_what_a_driver_left_behind_is_taken_over(database_url: str) -> None:
    storage = StudyStorage(database_url)
    made: Counter[Any] = Counter()
    answers: list[Answer] = []
    left = Calls(Slow(made, threading.Lock()), storage, "context", 60.0)
    left.start("m:f", 1, answers.append)
    left.begin()
    calls = Calls(Slow(made, threading.Lock()), storage, "context", 60.0)
    calls.start("m:f", 1, answers.append)
    calls.begin()
    assert made[1] == 1
    left.close()
    calls.drain()
    assert made[1] == 2
    assert [answer.value for answer in answers] == [2]
    assert Claims(storage.connection).take(["anything"]) == {"anything"}
    storage.close()


def test_equal_calls_of_a_driver_are_made_once(database_url: str) -> None:
    storage = StudyStorage(database_url)
    made: Counter[Any] = Counter()
    answers: list[Answer] = []
    calls = Calls(Slow(made, threading.Lock()), storage, "context", 60.0)
    for _ in range(3):
        calls.start("m:f", 1, answers.append)
    calls.drain()
    assert made == {1: 1}
    assert [answer.value for answer in answers] == [2, 2, 2]
    storage.close()


def test_a_call_takes_two_transactions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One to claim it and to look for its result, one to store that and to give the claim back."""
    storage = StudyStorage(database_url)
    calls = Calls(Slow(Counter(), threading.Lock()), storage, "context", 60.0)
    transactions: list[int] = []
    run = storage.connection.run

    def counting(work: Any) -> Any:
        transactions.append(1)
        return run(work)

    monkeypatch.setattr(storage.connection, "run", counting)
    calls.start("m:f", 1, lambda answer: transactions.append(answer.value))
    calls.drain()
    assert transactions == [1, 1, 2]
    assert Claims(storage.connection).take(calls_of(storage)) == calls_of(storage)
    storage.close()


def calls_of(storage: StudyStorage) -> set[str]:
    """Keys of all stored results."""
    with storage.connection._transaction() as connection:
        return set(connection.execute(sql.select(RESULTS.c.key)).scalars())
