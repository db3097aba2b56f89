"""Drivers that are killed at any moment, and several on one file: nothing is lost or left."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.verify import verify_studies
from nest_tune.study.trial import OuterTrial

TRIALS = 24
DRIVER = """
import random, sys, time
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome as Measured, Record
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial, Proposal

url, name, trials, window = sys.argv[1], sys.argv[2], int(sys.argv[3]), 4
storage, records = StudyStorage(url), RecordDatabase(url)
study = storage.get(name) or storage.create(
    name, {"parameters": [[f"unit.{n}", ["cpu", "npu"]] for n in range(40)]}
)
storage.take(study)
print("ready", flush=True)

def point(number):
    return tuple((number >> (n % 5)) & 1 for n in range(40))

done = {trial.number for trial in storage.trials(study)}
for number in range(trials):
    for ahead in range(number, min(number + window, trials)):
        if ahead not in done:
            storage.propose(study, Proposal(ahead, point(ahead), ahead > 0, {"seen": number}))
            done.add(ahead)
            break
    storage.beat(study)
    if number in {trial.number for trial in storage.trials(study)}:
        continue
    text = f'{{"n":{number}}}'
    key = (f"{name}-{number}", f"{number:016x}", "t", 1)
    records.add([Record(*key, Measured.CORRECT, number + 1, 8, text, text).sealed()])
    storage.add_tasks(study, {f"task-{number}": {"n": number}})
    storage.add_result(f"{name}-{number}", [number] * 50)
    metrics = {"latency_ms": 1.0 + number / 8}
    storage.finish(
        study, OuterTrial(number, point(number), number > 0, Outcome.COMPLETE, metrics)
    )
storage.release(study, Status.DONE)
storage.close()
"""
KINDS = ("sqlite:///{}/n.db", "journal:///{}/n.log")


def begin(url: str, name: str, trials: int = TRIALS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, url, name, str(trials)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(url: str, name: str) -> tuple[OuterTrial, ...]:
    storage = StudyStorage(url)
    try:
        found = storage.find(name)
        trials = storage.trials(found)
        assert storage.proposals(found) == ()
        assert len(storage.tasks(found)) == len(trials)
        assert not verify_studies(storage, repair=False).damage
        study = optuna_study(storage, name)
        seen = [t for t in study.trials if t.state is TrialState.COMPLETE]
        assert [t.values[0] for t in seen] == [t.metrics["latency_ms"] for t in trials]
        backend = getattr(study._storage, "_backend", None)
        if hasattr(backend, "engine"):  # of databases: Optuna leaves connections open
            study._storage.remove_session()
            backend.engine.dispose()
        return trials
    finally:
        storage.close()


def kill_again_and_again(url: str, kills: int, seed: int) -> None:
    """One study that is killed so often at random moments, and begun again each time."""
    chance = random.Random(seed)
    done = 0
    while done < kills:
        process = begin(url, "killed")
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError(process.communicate()[1])
        try:
            process.wait(chance.random() * 0.15)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            done += 1
        process.communicate()
        if process.returncode == 0:
            storage = StudyStorage(url)
            storage.delete(storage.find("killed"))
            storage.close()
    last = begin(url, "killed")
    _, errors = last.communicate()
    assert last.returncode == 0, errors


def check_kills(url: str, folder: Path, kills: int, seed: int) -> None:
    calm = begin(url, "calm")
    assert calm.wait() == 0, calm.communicate()
    calm.communicate()
    kill_again_and_again(url, kills, seed)
    assert stored(url, "killed") == stored(url, "calm")
    left = {path.name for path in folder.iterdir()}
    assert left <= {"n.db", "n.db-wal", "n.db-shm", "n.log", "n.log.records"}
    if url.startswith("sqlite"):
        with sqlite3.connect(folder / "n.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_driver_loses_nothing(kind: str, tmp_path: Path) -> None:
    check_kills(kind.format(tmp_path), tmp_path, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_driver_that_is_killed_a_hundred_times_loses_nothing(kind: str, tmp_path: Path) -> None:
    check_kills(kind.format(tmp_path), tmp_path, kills=100, seed=1)


@pytest.mark.slow
def test_a_server_loses_nothing_either(postgresql: object, tmp_path: Path) -> None:
    check_kills(postgresql.url, tmp_path, kills=100, seed=2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_two_drivers_a_reader_and_optuna_share_one_file(kind: str, tmp_path: Path) -> None:
    url = kind.format(tmp_path)
    processes = [begin(url, name) for name in ("one", "two")]
    reader = StudyStorage(url)
    end = time.monotonic() + 120
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        for study in reader.studies():
            seen = len(reader.trials(study))
            assert len(optuna_study(reader, study.name).trials) >= seen
    reader.close()
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert stored(url, "one") == stored(url, "two")
    assert len(stored(url, "one")) == TRIALS
