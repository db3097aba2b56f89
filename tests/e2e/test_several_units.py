"""A target of two different VTAs through tasks, plans, a study, its lock file and its package."""

from __future__ import annotations

from pathlib import Path

import pytest

import nest_tune
from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MODEL, CALIBRATION = DIGITS / "model.onnx", DIGITS / "calib.npz"
TEXT = """schema = "nest-tune/target/1"
name = "two"
inherit = "vta"

[units.little]
inherit = "vta-pynq"
memory = "side"

[memories.side]
bytes_per_s = { value = 8e8, origin = "assumed", source = "a guess" }
"""
PLAN = """schema = "nest-tune/plan/1"

[units]
stem = "vta"
depthwise = "little"
pointwise = "vta"
pool = "little"
first = "little"
second = "vta"
average = "cpu"
classifier = "little"
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "two.toml").write_text(TEXT)
    return load_target(tmp_path / "two.toml")


def test_tasks_of_both_are_listed_and_tuned(target: Target, tmp_path: Path) -> None:
    found = nest_tune.tasks(MODEL, target)
    by_unit = {unit: [t for t in found if t.unit == unit] for unit in ("vta", "little")}
    assert {task.id for task in by_unit["vta"]} == {task.task.id for task in by_unit["vta"]}
    assert {t.id for t in by_unit["little"]} == {f"{t.task.id}@little" for t in by_unit["little"]}
    for own in by_unit.values():
        assert sum(task.share_of_time for task in own) == pytest.approx(1)
    storage = f"sqlite:///{tmp_path}/records.db"
    cycles = {}
    for task in (by_unit["vta"][0], by_unit["little"][0]):
        tuned = nest_tune.tune_task(task.id, target, sampler="random", trials=8, storage=storage)
        assert tuned.default_cycles == task.default_cycles
        cycles[task.id] = tuned.best_cycles
    assert len(set(cycles.values())) == 2
    with pytest.raises(InputError, match="@huge: it is for units of kind"):
        nest_tune.tune_task(f"{found[0].id}@huge", target, storage=storage)


@pytest.mark.slow
def test_a_study_its_lock_file_and_its_package(target: Target, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    (tmp_path / "plan.toml").write_text(PLAN)
    study = nest_tune.Study.start(
        model=MODEL,
        target=str(tmp_path / "two.toml"),
        calibration=CALIBRATION,
        evaluation=DIGITS / "eval.npz",
        plan=tmp_path / "plan.toml",
        trials=2,
        sampler="random",
        name="two",
        storage=storage,
    )
    package = nest_tune.compile(
        MODEL, target, tmp_path / "package", plan=tmp_path / "plan.toml", calibration=CALIBRATION
    )
    planned = nest_tune.show_plan(MODEL, target, tmp_path / "plan.toml")
    assert planned.evaluation.launches == package.metrics.launches == 7
    assert planned.latency_ms == pytest.approx(package.metrics.latency_ms, rel=0.01)
    assert nest_tune.run(package, CALIBRATION, check=True).bit_exact
    units = {layer.unit for layer in package.layers}
    assert units == {"cpu", "vta", "little"}
    study.export(tmp_path / "best.toml")
    text = (tmp_path / "best.toml").read_text()
    assert '@little"' in text
    assert nest_tune.check(tmp_path / "best.toml").ok
    study.report(tmp_path / "report.html")
    assert "little" in (tmp_path / "report.html").read_text()
