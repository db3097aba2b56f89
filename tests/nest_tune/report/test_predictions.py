"""Predicted against measured: only the study's own records, by models that never saw the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task, task_key
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.unit import Machine
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import Record
from nest_tune.report.predictions import predictions
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.stored_study import Status, StoredStudy
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.tuning.tune import tune_tasks

SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
EPILOGUE = Epilogue(17, True, True, True)
TASKS = [
    Task("vta", ConvWorkload(1, channels, 14, 14, 32, SAME, 1, EPILOGUE))
    for channels in (16, 32, 64)
]


def records_of(tasks: list[Task], machine: Machine, url: str, trials: int) -> dict[str, TunedTask]:
    """Measures schedules of tasks into a database; the tasks as a study keeps them."""
    kept: list[Record] = []
    wanted = dict.fromkeys(tasks, 1)
    found = tune_tasks(wanted, machine, sampler="random", trials=trials, keep=kept.extend)
    database = RecordDatabase(url)
    database.add(kept)
    database.close()
    return {
        task.id: TunedTask(
            {},
            result.best_cycles,
            result.default_cycles,
            result.bound_cycles,
            result.measurements,
            tuple(r.schedule for r in kept if r.task == task_key(task.id)),
        )
        for task, result in found.items()
    }


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, TunedTask]]:
    """A database with 16 records of each task, and the tasks as a study keeps them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'n.db'}"
    return url, records_of(TASKS, load_target("vta").npu, url, 48)


def study(tasks: Mapping[str, TunedTask], target: str = "vta") -> StudyResult:
    goals = (Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE),)
    stored = StoredStudy(1, "s", 0.0, Status.DONE, "", 0.0, {})
    return StudyResult(
        stored, StudySettings("s", "m.onnx", target, objectives=goals), (), tasks, ()
    )


def test_every_record_of_the_study_is_predicted(tuned: tuple[str, dict[str, TunedTask]]) -> None:
    url, tasks = tuned
    (found,) = predictions(study(tasks), url)
    assert (found.tasks, found.shown) == (3, found.rows)
    assert found.rows == sum(len(task.records) for task in tasks.values())
    dots = np.array(found.chart.dots)
    best = {min(task.cycles for task in tasks.values())}
    assert dots[:, 0].min() in best
    assert np.all(dots > 0)
    # Predictions are of the same size as what was measured, on the whole.
    assert found.model.error < 0.5
    assert found.walk.tasks == found.model.tasks == 3
    assert predictions(study(tasks), url) == (found,)


def test_records_of_others_do_not_count(tuned: tuple[str, dict[str, TunedTask]]) -> None:
    url, tasks = tuned
    fewer = {name: replace(task, records=task.records[:8]) for name, task in tasks.items()}
    (found,) = predictions(study(fewer), url)
    assert found.rows == 24


def test_nothing_is_said_of_too_few(
    tuned: tuple[str, dict[str, TunedTask]], tmp_path: Path
) -> None:
    url, tasks = tuned
    one = dict(list(tasks.items())[:1])
    assert predictions(study(one), url) == ()
    assert predictions(study(tasks), f"sqlite:///{tmp_path / 'empty.db'}") == ()


def test_each_unit_has_its_own(tmp_path: Path) -> None:
    target, url = load_target("vta-aim"), f"sqlite:///{tmp_path / 'n.db'}"
    products = [Task("aim", MatrixVector(outputs, 600, bias=True)) for outputs in (90, 700, 2000)]
    by_unit = {
        name: records_of(tasks, target.unit(name).machine, url, 24)
        for name, tasks in (("vta", TASKS), ("aim", products))
    }
    found = predictions(study({**by_unit["vta"], **by_unit["aim"]}, "vta-aim"), url)
    assert [(own.unit, own.tasks) for own in found] == [("vta", 3), ("aim", 3)]
    for own in found:
        assert own.rows == sum(len(task.records) for task in by_unit[own.unit].values())
    assert [own.unit for own in predictions(study(by_unit["aim"], "vta-aim"), url)] == ["aim"]
