"""Where studies run, and what a worker wrote before it failed."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import shutil
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(small_study: Any, tmp_path: Path) -> str:
    source = small_study.storage.removeprefix("sqlite:///")
    with sqlite3.connect(source) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(source, tmp_path / "copy.db")
    return f"sqlite:///{tmp_path / 'copy.db'}"


def test_the_list_says_where_a_study_runs(nest_tune: Command, url: str) -> None:
    code, out, _ = nest_tune("study", "list", "--storage", url, "--json")
    assert code == 0
    (row,) = json.loads(out)["studies"]
    assert {k: row[k] for k in ("runner", "ray_address", "host", "pid")} == {
        "runner": "local",
        "ray_address": None,
        "host": None,
        "pid": None,
    }
    storage = StudyStorage(url)
    study = storage.find("small")
    settings = {**study.document["settings"], "runner": "ray", "ray_address": "10.0.0.1:6379"}
    storage.update_document(study, {**study.document, "settings": settings})
    storage.take(study)
    _, out, _ = nest_tune("study", "list", "--storage", url, "--json")
    (row,) = json.loads(out)["studies"]
    assert (row["host"], row["pid"]) == (socket.gethostname(), os.getpid())
    _, out, _ = nest_tune("study", "list", "--storage", url)
    assert "ray 10.0.0.1:6379" in " ".join(out.split())
    storage.release(study, Status.DONE)
    storage.close()


def test_the_log_of_a_failed_trial_is_shown(nest_tune: Command, url: str) -> None:
    storage = StudyStorage(url)
    study = storage.find("small")
    good = storage.trials(study)[0]
    log = "Traceback [bold]\nZeroDivisionError"
    bad = replace(good, number=17, outcome=Outcome.RUNTIME, metrics={}, message="died", log=log)
    storage.finish(study, bad)
    assert storage.trials(study)[-1] == bad
    storage.close()
    code, out, _ = nest_tune("study", "show", "small:17", "--storage", url)
    assert code == 0
    assert "died" in out
    assert "worker: Traceback [bold]" in out
    assert "worker: ZeroDivisionError" in out
    _, out, _ = nest_tune("study", "show", "small:17", "--storage", url, "--json")
    assert json.loads(out)["log"] == log.splitlines()
    _, out, _ = nest_tune("study", "show", "small:0", "--storage", url, "--json")
    assert "log" not in json.loads(out)


@pytest.mark.parametrize("pick", ["quickest", "min:latncy_ms", "max:sqnr_db", "lex:"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_rule_that_cannot_pick_is_refused_before_anything_runs(
    nest_tune: Command, repository: Path, tmp_path: Path, pick: str, more: tuple[str, ...]
) -> None:
    digits = repository / "examples" / "digits"
    words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta"]
    words += ["--calibration", digits / "calib.npz", "--evaluation", digits / "eval.npz"]
    words += ["--storage", f"sqlite:///{tmp_path}/s.db", "--trials", 1, "--pick", pick, *more]
    code, _, err = nest_tune(*map(str, words))
    assert code == 2
    assert f"--pick {pick}" in err
    assert "hint:" in err
    storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
    assert storage.studies() == ()
    storage.close()


def test_a_resume_refuses_such_a_rule_too(nest_tune: Command, url: str) -> None:
    words = ("study", "resume", "small", "--trials", "+1", "--storage", url)
    code, _, err = nest_tune(*words, "--pick", "max:agreement")
    assert code == 2
    assert "agreement is not measured; the metric is top1, called accuracy" in err


def test_labels_that_no_threshold_tells_apart_are_refused_alike(
    nest_tune: Command, repository: Path, tmp_path: Path
) -> None:
    """By evaluate against the float model, dry runs, starts and searches of schemes."""
    builder = runpy.run_path(str(repository / "tests" / "synthetic_models.py"))["Builder"]()
    builder.dense("x", "wide", 4, 1)
    builder.add("Exp", ["wide"], "y")  # positive, and no sigmoid
    model = tmp_path / "m.onnx"
    model.write_bytes(builder.model({"x": ["n", 4]}, {"y": ["n", 1]}))
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("f4")
    np.savez(tmp_path / "calib.npz", x=x)
    np.savez(tmp_path / "eval.npz", x=x, y=np.arange(16) % 2)
    calib = ("--calibration", tmp_path / "calib.npz")
    target = ("--target", "vta")
    assert nest_tune("compile", model, *target, *calib, "-o", tmp_path / "out")[0] == 0
    data = tmp_path / "eval.npz"
    start = ("study", "start", "--model", model, *target, *calib, "--evaluation", data)
    start += ("--storage", f"sqlite:///{tmp_path}/s.db", "--trials", 1, "--name", "s")
    for words in (
        ("evaluate", tmp_path / "out", "--data", data, "--against", model),
        (*start, "--dry-run"),
        start,
        ("quantize", "search", model, *target, *calib, "--data", data, "-o", tmp_path / "q.toml"),
    ):
        code, _, err = nest_tune(*map(str, words))
        assert code == 2, err
        assert "output 'y': the float model's values for all 16 samples are above 0" in err
        assert "--metric sqnr_db" in err
    assert nest_tune(*map(str, (*start, "--metric", "sqnr_db", "--dry-run")))[0] == 0


def test_a_start_that_leaves_nothing_behind_tells_no_way_to_go_on(
    nest_tune: Command, repository: Path, tmp_path: Path
) -> None:
    """Where no cluster answers, the name is free again: there is nothing that could be resumed."""
    pytest.importorskip("ray", reason="ray is not installed")
    digits = repository / "examples" / "digits"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta"]
        words += ["--calibration", digits / "calib.npz", "--storage", f"sqlite:///{tmp_path}/s.db"]
        words += ["--name", "s", "--runner", "ray", "--ray-address", address]
        code, _, err = nest_tune(*map(str, words))
    assert code == 5, err
    assert "saved" not in err
    storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
    assert storage.studies() == ()
    storage.close()


@pytest.mark.parametrize("by", ["file", "environment"])
def test_commands_that_are_told_find_the_study(
    nest_tune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    digits, url = Path("examples/digits").resolve(), f"sqlite:///{tmp_path}/s.db"
    file = tmp_path / "study.toml"
    run = ""
    if by == "file":
        run = f'[run]\nstorage = "{url}"\n'
    else:
        monkeypatch.setenv("NEST_TUNE_STORAGE", url)
    file.write_text(
        '[study]\nname = "s"\ntrials = 1\n[target]\nname = "vta"\n'
        f'[model]\npath = "{digits}/model.onnx"\n[data]\ncalibration = "{digits}/calib.npz"\n{run}'
    )
    monkeypatch.chdir(tmp_path)
    code, out, err = nest_tune("study", "start", str(file))
    assert code == 0, err
    (told,) = (line for line in out.splitlines() if line.startswith("why it is so: "))
    words = shlex.split(told.removeprefix("why it is so: "))
    assert ("--storage" in words) == (by == "file")
    assert nest_tune(*words[1:])[0] == 0
