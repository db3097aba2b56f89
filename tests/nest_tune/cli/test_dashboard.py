"""Studies as Optuna and its dashboard show them, and the dashboard's server on loopback."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from nest_tune.cli.dashboard import HOST, bind
from nest_tune.study.store.optuna_study import optuna_storage, optuna_study
from nest_tune.study.store.result import load_result
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(small_study: Any) -> Iterator[StudyStorage]:
    storage = StudyStorage(small_study.storage, create=False)
    yield storage
    storage.close()


def test_optuna_sees_decisions_metrics_and_constraints_by_name(source: StudyStorage) -> None:
    result = load_result(source, source.find("small"))
    seen = optuna_study(source, "small")
    assert seen.metric_names == [o.metric.value for o in result.settings.objectives]
    assert [d.name.lower() for d in seen.directions] == [
        o.direction.value for o in result.settings.objectives
    ]
    for shown, trial in zip(seen.trials, result.trials, strict=True):
        assert shown.values == [trial.metrics[name] for name in seen.metric_names]
        assert shown.user_attrs["nest_tune"]["metrics"] == trial.metrics
        names = result.study.document["parameters"]
        assert {name: str(value) for name, value in shown.params.items()} == {
            n: str(v[i]) for (n, v), i in zip(names, trial.point, strict=True)
        }
        holds = all(value <= 0 for value in shown.constraints.values())
        assert holds == trial.is_feasible
    feasible = {t.number for t in result.trials if t.is_feasible}
    assert {t.number for t in seen.best_trials} <= feasible


def test_trials_that_were_not_measured_say_why(source: StudyStorage) -> None:
    small = source.find("small")
    failed = replace(
        source.trials(small)[1], number=0, outcome=Outcome.COMPILE, metrics={}, message="<b>no</b>"
    )
    other = source.create("failing", small.document)
    try:
        source.finish(other, failed)
        (shown,) = optuna_study(source, "failing").trials
    finally:
        source.delete(other)
    assert shown.state is TrialState.FAIL
    assert shown.user_attrs["nest_tune"]["message"] == "<b>no</b>"


def test_server_shows_studies_and_keeps_notes(source: StudyStorage, hostile_name: str) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    with bind(optuna_storage(source), 0) as server:
        assert server.server_address[0] == HOST
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://{HOST}:{server.server_port}"
            with urllib.request.urlopen(f"{base}/api/studies") as answer:
                (study,) = json.load(answer)["study_summaries"]
            assert study["study_name"] == "small"
            address = f"{base}/api/studies/{study['study_id']}"
            note = json.dumps({"body": "of mine", "version": 1}).encode()
            asked = urllib.request.Request(f"{address}/note", note, method="PUT")
            asked.add_header("Content-Type", "application/json")
            asked.add_header("Origin", base)
            urllib.request.urlopen(asked).close()
            with urllib.request.urlopen(address) as answer:
                detail = json.load(answer)
        finally:
            server.shutdown()
            thread.join()
    assert len(detail["trials"]) == 17
    assert detail["objective_names"] == ["latency_ms", "accuracy"]
    partition = f"partition.{hostile_name}"
    assert partition in {p["name"] for p in detail["union_search_space"]}
    (kept,) = optuna_storage(source).get_all_studies()
    assert "of mine" in kept.system_attrs.values()  # it lasts
    assert len(load_result(source, source.find("small")).trials) == 17


def test_taken_port_is_wrong_input(small_study: Any, nest_tune: Run, source: StudyStorage) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    with bind(optuna_storage(source), 0) as server:
        words = ("dashboard", "--storage", small_study.storage, "--port", server.server_port)
        code, _, errors = nest_tune(*words)
    assert code == 2
    assert "--port 0" in errors


def test_missing_package_is_named_with_its_extra(
    small_study: Any, nest_tune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    code, _, errors = nest_tune("dashboard", "--storage", small_study.storage)
    assert code == 5
    assert "nest-tune[dashboard]" in errors
