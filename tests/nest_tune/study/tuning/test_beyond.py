"""Studies try programs beyond the spaces of their tasks, and repeat themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import nest_tune
from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from nest_tune.records.database import Snapshot
from nest_tune.records.record import MeasurementOutcome, machine_digest, record_of
from nest_tune.study.store.result import compile_trial
from nest_tune.study.store.selection import ground_of
from nest_tune.study.tuning.beyond import PROGRAMS, programs_beyond
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.measure import measure
from nest_tune.tuning.steps import Wanted, measured_by
from tests import synthetic_models

CORE = load_target("vta").npu
WINDOW = Window((3, 3), (1, 1), (1, 1, 1, 1))
DEPTHWISE = ConvWorkload(1, 64, 25, 5, 64, WINDOW, 64, Epilogue(17, True, True, True))
DENSE = ConvWorkload(1, 64, 25, 5, 64, WINDOW, 1, Epilogue(17, True, True, True))


def search(tasks: list[Task], snapshot: Snapshot | None = None) -> tuple[Any, list[int]]:
    sizes: list[int] = []

    def measured(wanted: Wanted) -> list[Any]:
        sizes.append(len(wanted))
        return [measure(workload, schedule, CORE) for workload, schedule in wanted]

    knowledge = knowledge_of(snapshot or Snapshot(), CORE)
    return measured_by(programs_beyond(tasks, CORE, 0, knowledge), measured), sizes


def test_only_tasks_with_programs_are_searched_and_equal_seeds_find_the_same() -> None:
    task, other = Task("vta", DEPTHWISE), Task("vta", DENSE)
    found, sizes = search([task, other])
    assert list(found) == [task]
    assert found[task].programs == sum(sizes) == PROGRAMS
    assert max(sizes) > 1, "they are measured side by side"
    assert isinstance(found[task].best, ResidentSchedule)
    assert measure(DEPTHWISE, found[task].best, CORE).cycles == found[task].cycles
    assert search([task])[0] == found


def test_a_search_begins_with_the_best_program_that_records_know() -> None:
    task = Task("vta", DEPTHWISE)
    best = search([task])[0][task]
    record = record_of(
        task, best.best, machine_digest(CORE), knowledge_of(Snapshot(), CORE).lowering,
        MeasurementOutcome.CORRECT, best.cycles, best.measured.dram_bytes,
    )  # fmt: skip
    again = search([task], Snapshot((record,)))[0][task]
    assert again.cycles <= best.cycles
    assert again.programs == PROGRAMS + 1


def test_a_study_takes_a_resident_schedule_where_it_is_faster(tmp_path: Path) -> None:
    b = synthetic_models.Builder(2)
    b.conv("x", "a", (64, 1, 3, 3), group=64)
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    model.write_bytes(b.model({"x": ["n", 64, 25, 5]}, {"a": ["n", 64, 25, 5]}))
    np.savez(data, x=np.random.default_rng(0).normal(size=(8, 64, 25, 5)).astype("f4"))
    asked: dict[str, Any] = {
        "model": model,
        "target": "vta",
        "calibration": data,
        "spaces": ["tiling"],
        "objectives": ["latency_ms:min"],
        "trials": 2,
        "storage": f"sqlite:///{tmp_path / 's.db'}",
    }
    study = nest_tune.Study.start(name="one", jobs=1, **asked)
    (task,) = study.result.tasks.values()
    assert "loads" in task.schedule
    assert task.cycles < task.default_cycles
    built = compile_trial(ground_of(study.result), study.result, study.trials[1])
    assert built.metrics.latency_ms == study.trials[1].metrics["latency_ms"]
    again = nest_tune.Study.start(name="two", runner="replay", **asked)
    assert [trial.metrics for trial in again.trials] == [trial.metrics for trial in study.trials]
