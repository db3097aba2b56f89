"""The copy of studies that optuna-dashboard shows, and its server on loopback."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nest_tune.cli.dashboard import HOST, bind
from nest_tune.study.store.result import load_result
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome
from nest_tune.study.views.optuna_copy import Mirror, frozen_trial

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(small_study: Any) -> Iterator[StudyStorage]:
    storage = StudyStorage(small_study.storage, create=False)
    yield storage
    storage.close()


def test_copy_has_decisions_metrics_and_constraints_by_name(source: StudyStorage) -> None:
    result = load_result(source, source.find("small"))
    mirror = Mirror(source)
    assert mirror.refresh() >= len(result.trials)
    copy = optuna.load_study(study_name="small", storage=mirror.storage)
    assert copy.metric_names == [o.metric.value for o in result.settings.objectives]
    assert [d.name.lower() for d in copy.directions] == [
        o.direction.value for o in result.settings.objectives
    ]
    for shown, trial in zip(copy.trials, result.trials, strict=True):
        assert shown.values == [trial.metrics[name] for name in copy.metric_names]
        assert shown.user_attrs["npu_cycles"] == trial.metrics["npu_cycles"]
        names = result.study.document["parameters"]
        assert shown.params == {n: str(v[i]) for (n, v), i in zip(names, trial.point, strict=True)}
        holds = all(value <= 0 for value in shown.constraints.values())
        assert holds == trial.is_feasible
    feasible = {t.number for t in result.trials if t.is_feasible}
    assert {t.number for t in copy.best_trials} <= feasible


def test_trials_that_were_not_measured_say_why(source: StudyStorage) -> None:
    result = load_result(source, source.find("small"))
    failed = replace(result.trials[1], outcome=Outcome.COMPILE, metrics={}, message="<b>no</b>")
    shown = frozen_trial(result, failed)
    assert shown.state is TrialState.FAIL
    assert shown.user_attrs["message"] == "<b>no</b>"


def test_refresh_follows_new_trials_and_deleted_studies(source: StudyStorage) -> None:
    small = source.find("small")
    other = source.create("growing", small.document)
    trials = source.trials(small)
    mirror = Mirror(source)
    try:
        source.add_trial(other, trials[0])
        mirror.refresh()
        assert mirror.refresh() == 0
        source.add_trial(other, trials[1])
        assert mirror.refresh() == 1
        copy = optuna.load_study(study_name="growing", storage=mirror.storage)
        assert [trial.number for trial in copy.trials] == [0, 1]
        first, second = copy.trials
        assert first.datetime_complete == second.datetime_start
    finally:
        source.delete(other)
    mirror.refresh()
    assert optuna.get_all_study_names(mirror.storage) == ["small"]


def test_server_shows_studies_with_their_notes(source: StudyStorage, hostile_name: str) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    mirror = Mirror(source)
    mirror.refresh()
    with bind(mirror.storage, 0) as server:
        assert server.server_address[0] == HOST
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://{HOST}:{server.server_port}"
            with urllib.request.urlopen(f"{base}/api/studies") as answer:
                (study,) = json.load(answer)["study_summaries"]
            assert study["study_name"] == "small"
            with urllib.request.urlopen(f"{base}/api/studies/{study['study_id']}") as answer:
                detail = json.load(answer)
        finally:
            server.shutdown()
            thread.join()
    assert len(detail["trials"]) == 17
    assert detail["objective_names"] == ["latency_ms", "accuracy"]
    assert "nest-tune study report small" in detail["note"]["body"]
    assert "<img" not in detail["note"]["body"].replace("\\<img", "")
    partition = f"partition.{hostile_name}"
    assert partition in {p["name"] for p in detail["union_search_space"]}


def test_taken_port_is_wrong_input(small_study: Any, nest_tune: Run, source: StudyStorage) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    with bind(Mirror(source).storage, 0) as server:
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
