"""Parts of a user: every seam takes one from a distribution beside the packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nest_tune
from compiler_core.accuracy.metric import METRICS
from compiler_core.executable.runtimes import RUNTIMES, make_backend
from compiler_core.plugins.registry import Registry, forget_parts
from compiler_core.units.registry import KINDS
from nest_tune.board_measurers import MEASURERS
from nest_tune.runners.runner import RUNNERS, RunnerOptions, Setup, make_runner
from nest_tune.samplers.registry import SAMPLERS

FOLDER = Path(__file__).resolve().parent / "plugin_parts"
DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
REGISTRIES: tuple[Registry[Any], ...] = (KINDS, SAMPLERS, RUNNERS, MEASURERS, METRICS, RUNTIMES)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's distribution, installed."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    forget_parts()
    yield
    forget_parts()
    sys.modules.pop("plugin_parts", None)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "out"
    nest_tune.compile(DIGITS / "model.onnx", "vta", folder, calibration=DIGITS / "calib.npz")
    return folder


def start(folder: Path, **more: Any) -> nest_tune.Study:
    asked: dict[str, Any] = {
        "model": DIGITS / "model.onnx",
        "target": "vta",
        "calibration": DIGITS / "calib.npz",
        "evaluation": DIGITS / "eval.npz",
        "spaces": ["partition"],
        "sampler": "random",
        "trials": 3,
        "storage": f"sqlite:///{folder}/studies.db",
        "name": "plugin",
    }
    return nest_tune.Study.start(**{**asked, **more})


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda found: found.what)
def test_unknown_names_come_with_the_nearest_and_with_all(registry: Registry[Any]) -> None:
    near = f"{registry.names()[0]}x" if registry.names() else "x"
    with pytest.raises(nest_tune.InputError, match=f"{registry.what} '{near}' is not known") as bad:
        registry.get(near)
    for name in registry.names():
        assert name in str(bad.value)
    if registry.names():
        assert bad.value.hint == f"did you mean '{registry.names()[0]}'?"
    else:
        assert registry.group in (bad.value.hint or "")


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda found: found.what)
def test_bundled_parts_are_offered_as_a_users_are(registry: Registry[Any]) -> None:
    for name in registry.names():
        assert registry.offer(name).is_bundled
        registry.get(name)


@pytest.mark.usefixtures("plugin")
def test_a_sampler_of_configurations(tmp_path: Path) -> None:
    study = start(tmp_path, sampler="backwards", trials=6)
    asked = [trial.attributes["asked"] for trial in study.trials if trial.attributes]
    assert asked
    assert asked[-1] == study.trials[-1].number == 5


@pytest.mark.usefixtures("plugin")
def test_a_sampler_of_schedules(tmp_path: Path) -> None:
    task = nest_tune.tasks(DIGITS / "model.onnx", "vta")[0]
    storage = f"sqlite:///{tmp_path}/records.db"
    found = nest_tune.tune_task(task, "vta", sampler="backwards", trials=24, storage=storage)
    assert found.measurements == 24
    with pytest.raises(nest_tune.InputError, match="'outer-only' chooses configurations") as bad:
        nest_tune.tune_task(task, "vta", sampler="outer-only", storage=storage)
    assert "backwards" in (bad.value.hint or "")


@pytest.mark.usefixtures("plugin")
def test_a_runner(tmp_path: Path) -> None:
    own, usual = start(tmp_path, runner="inline"), start(tmp_path, name="usual")
    assert [trial.metrics for trial in own.trials] == [trial.metrics for trial in usual.trials]
    runner = make_runner("inline", Setup("os:fspath", "state"), RunnerOptions())
    assert runner.wait(0) == []


@pytest.mark.usefixtures("plugin")
def test_a_measurer(package: Path) -> None:
    found = nest_tune.measure(package, "stopwatch")
    assert found.measured["latency_ms"] > found.simulated["latency_ms"]


@pytest.mark.usefixtures("plugin")
def test_metrics(tmp_path: Path, package: Path) -> None:
    data, model = DIGITS / "eval.npz", DIGITS / "model.onnx"

    def value(metric: str, **more: Any) -> float:
        found = nest_tune.evaluate(package, data, metric=metric, executor="reference", **more)
        return found.value

    assert value("share-right") == value("top1")
    assert value("worst-error", against=model) != value("sqnr_db", against=model)
    study = start(tmp_path, metric="worst-error", constraints=["accuracy_drop<=1dB"])
    assert all(trial.metrics["accuracy"] > 0 for trial in study.trials)
    assert study.default.metrics["accuracy_drop"] == 0
    with pytest.raises(nest_tune.InputError, match="worst-error is in dB"):
        start(tmp_path, metric="worst-error", constraints=["accuracy_drop<=1%"], name="other")


@pytest.mark.usefixtures("plugin")
def test_a_runtime(package: Path) -> None:
    data = DIGITS / "eval.npz"
    found = nest_tune.evaluate(package, data, executor="counting", limit=50)
    usual = nest_tune.evaluate(package, data, executor="reference", limit=50)
    assert found.value == usual.value
    counting = sys.modules["plugin_parts"].Counting
    assert counting.runs > 0
    loaded = nest_tune.load_package(package)
    with pytest.raises(nest_tune.InputError, match="'counting' has no launches to tell of"):
        make_backend("counting", loaded.executable, observer=lambda *_: None)
