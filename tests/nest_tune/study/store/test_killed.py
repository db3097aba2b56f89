"""Drivers that are killed at any moment, and several on one file: nothing is lost or left."""

from __future__ import annotations

import os
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
DRIVER = Path(__file__).with_name("killed_driver.py")
KINDS = ("sqlite:///{}/n.db", "journal:///{}/n.log")


def begin(url: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), url, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return out


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


def check_kills(url: str, folder: Path, kills: int, seed: int) -> None:
    finish(begin(url, "drive", "calm", TRIALS))
    out = finish(begin(url, "kill", "killed", TRIALS, kills, seed))
    assert out.startswith(f"{kills} kills"), out
    print(out)
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
    processes = [begin(url, "drive", name, TRIALS) for name in ("one", "two")]
    reader = StudyStorage(url)
    end = time.monotonic() + 120
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        for study in reader.studies():
            seen = len(reader.trials(study))
            assert len(optuna_study(reader, study.name).trials) >= seen
    reader.close()
    for process in processes:
        finish(process)
    assert stored(url, "one") == stored(url, "two")
    assert len(stored(url, "one")) == TRIALS
