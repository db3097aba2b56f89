"""Studies and records on a MariaDB server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from nest_tune.records.connection import Connection
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome as Measured
from nest_tune.records.record import Record
from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial, Proposal
from tests.nest_tune.study.store.test_killed import begin, check_kills, finish, stored

PARAMETERS = [["unit.Conv", ["cpu", "npu"]], ["unit.conv", ["cpu", "npu"]]]


def test_names_that_differ_in_case_and_long_texts_are_kept(mysql: Any) -> None:
    storage = StudyStorage(mysql.url)
    for name in ("net", "Net", "nét"):
        study = storage.create(name, {"parameters": PARAMETERS, "note": "x" * 100_000})
        storage.take(study)
        storage.propose(study, Proposal(0, (0, 1), False, {}))
        log = "ÄÖ🙂" * 40_000
        metrics = {"latency_ms": 1.5}
        storage.finish(study, OuterTrial(0, (0, 1), False, Outcome.COMPLETE, metrics, log=log))
        storage.release(study, Status.DONE)
        (trial,) = storage.trials(storage.find(name))
        assert (trial.point, trial.log, trial.metrics) == ((0, 1), log, metrics)
        assert storage.find(name).document["note"] == "x" * 100_000
        (seen,) = optuna_study(storage, name).trials
        assert seen.params == {"unit.Conv": "cpu", "unit.conv": "npu"}
        assert seen.values == [1.5]
    assert {study.name for study in storage.studies()} == {"net", "Net", "nét"}
    storage.close()
    loaded = optuna.load_study(study_name="Net", storage=mysql.url.replace("tuner@", "tuner@"))
    assert len(loaded.trials) == 1


def test_a_url_without_a_driver_takes_the_one_of_the_extra(mysql: Any) -> None:
    for scheme in ("mysql", "mariadb"):
        database = RecordDatabase(mysql.url.replace("mysql+pymysql", scheme))
        text = '{"n":1}'
        record = Record("t", "s", "m", 1, Measured.CORRECT, 7, 8, text, text).sealed()
        database.add([record])
        assert database.snapshot().records == (record,)
        database.close()


def test_a_server_that_restarts_is_waited_for(mysql: Any) -> None:
    database = RecordDatabase(mysql.url)
    assert database.newest() == 0
    mysql.stop()
    mysql.start()
    assert database.newest() == 0
    database.close()
    impatient = Connection(mysql.url, patience_s=0.5)
    impatient.run(lambda connection: connection.exec_driver_sql("SELECT 1"))
    mysql.stop()
    with pytest.raises(Exception, match=r"mysql\+pymysql://tuner@127.0.0.1"):
        impatient.run(lambda connection: connection.exec_driver_sql("SELECT 1"))
    mysql.start()
    impatient.close()


def test_two_drivers_share_a_server(mysql: Any) -> None:
    processes = [begin(mysql.url, "drive", name, 12) for name in ("one", "two")]
    for process in processes:
        finish(process)
    assert stored(mysql.url, "one") == stored(mysql.url, "two")


def test_killed_drivers_lose_nothing(mysql: Any, tmp_path: Path) -> None:
    check_kills(mysql.url, tmp_path, kills=2, seed=3)


@pytest.mark.slow
def test_drivers_that_are_killed_a_hundred_times_lose_nothing(mysql: Any, tmp_path: Path) -> None:
    check_kills(mysql.url, tmp_path, kills=100, seed=3)
