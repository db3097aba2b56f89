"""Tuning: the default first, the same trials for any number of workers, records that replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import Outcome, Record
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.measure import Measurer, measure
from nest_tune.tuning.task_search import BATCH
from nest_tune.tuning.tune import MeasurementBudget, tune_task, tune_tasks

EPILOGUE = Epilogue(17, True, True, True)
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
CONV = Task("vta", ConvWorkload(1, 64, 14, 14, 64, SAME, 1, EPILOGUE))
OTHER = Task("vta", ConvWorkload(1, 64, 14, 14, 128, Window((1, 1), (2, 2)), 1, EPILOGUE))
POOL = Task("vta", MaxPoolWorkload(1, 32, 8, 8, Window((3, 3), (2, 2), (1, 1, 1, 1))))
TINY = Task(
    "vta", ConvWorkload(1, 16, 1, 2, 16, Window((1, 1)), 1, Epilogue(0, True, False, False))
)


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


@pytest.fixture
def database(tmp_path: Path) -> RecordDatabase:
    return RecordDatabase(f"sqlite:///{tmp_path / 'records.db'}")


@pytest.mark.parametrize("task", [CONV, POOL], ids=["conv", "pool"])
def test_tuning_begins_with_the_default_and_never_gets_worse(task: Task, core: VtaCore) -> None:
    result = tune_task(task, core, budget=MeasurementBudget(24))
    untuned = measure_layer(task.workload, default_schedule(task.workload, core), core).cycles
    assert result.default_cycles == result.history[0] == untuned
    assert result.measurements == len(result.history) == 24
    assert list(result.history) == sorted(result.history, reverse=True)
    assert result.history[-1] == result.best_cycles
    assert measure_layer(task.workload, result.best, core).cycles == result.best_cycles
    assert result.bound_cycles == lower_bound(task.workload, core).cycles
    assert result.bound_cycles <= result.best_cycles <= untuned


def test_workers_change_nothing_but_the_time(core: VtaCore) -> None:
    trials: list[list[str]] = []
    for jobs in (1, 2):
        kept: list[Record] = []
        results = tune_tasks({CONV: 2, OTHER: 1}, core, trials=64, jobs=jobs, keep=kept.extend)
        trials.append([f"{record.key}{record.cycles}" for record in kept])
        assert sum(r.measurements for r in results.values()) == len(kept)
    assert trials[0] == trials[1]


def test_records_are_kept_and_stand_for_measurements(
    core: VtaCore, database: RecordDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tune_task(CONV, core, budget=MeasurementBudget(32), records=database)
    assert len(database.snapshot().records) == 32
    # Nothing is measured now.
    monkeypatch.setattr("compiler_core.units.vta.tasks.measure_layer", None)
    again = tune_task(CONV, core, budget=MeasurementBudget(32), records=database)
    assert (again.measurements, again.known) == (0, 32)
    assert again.best_cycles == first.best_cycles
    assert again.default_cycles == first.default_cycles


def test_records_of_other_tasks_train_the_first_guess(
    core: VtaCore, database: RecordDatabase
) -> None:
    cold = tune_task(CONV, core, budget=MeasurementBudget(16), sampler="xgb")
    tune_task(OTHER, core, budget=MeasurementBudget(24), records=database)
    warm = tune_task(CONV, core, budget=MeasurementBudget(16), records=database)
    assert warm.known == 0
    knowledge = knowledge_of(database.snapshot(task=OTHER.workload.digest), core)
    assert knowledge.base_model(core, 0).rows == 24
    assert warm.best_cycles <= 1.02 * cold.best_cycles
    assert knowledge.base_model(core, 0, [OTHER.workload.digest]).rows == 0


def test_records_of_another_target_or_lowering_do_not_count(core: VtaCore) -> None:
    kept: list[Record] = []
    tune_tasks({CONV: 1}, core, trials=16, keep=kept.extend)
    snapshot = Snapshot(tuple(kept))
    assert len(knowledge_of(snapshot, core).of(CONV)) == 16
    assert knowledge_of(snapshot, load_target("vta-pynq").npu).of(CONV) == []
    assert len(knowledge_of(snapshot, load_target("vta-pynq").npu).training_set(core)) == 0


def test_exhaustive_search_proves_its_optimum(core: VtaCore) -> None:
    result = tune_task(TINY, core, exhaustive=True)
    assert result.proven
    sampled = tune_task(TINY, core, sampler="random", budget=MeasurementBudget(40))
    assert result.best_cycles <= sampled.best_cycles


def test_budget_goes_where_the_gain_is(core: VtaCore) -> None:
    small = Task("vta", ConvWorkload(1, 16, 4, 4, 16, Window((1, 1)), 1, EPILOGUE))
    results = tune_tasks({CONV: 50, small: 1}, core, trials=4 * BATCH)
    assert results[CONV].measurements > results[small].measurements
    assert results[small].measurements >= BATCH


def test_time_limit_ends_with_a_batch(core: VtaCore) -> None:
    result = tune_task(CONV, core, budget=MeasurementBudget(10_000, timeout_s=0.0))
    assert 1 <= result.measurements <= BATCH


def test_what_the_lowering_refuses_is_an_outcome(core: VtaCore) -> None:
    schedule = default_schedule(CONV.workload, core)
    too_large = type(schedule)(14, 14, 4, 4, output_slots=8)  # type: ignore[call-arg]
    assert measure(CONV.workload, too_large, core).outcome is Outcome.COMPILE
    with Measurer(core, jobs=2) as measurer:
        results = measurer.measure([(CONV.workload, s) for s in (schedule, too_large, schedule)])
    assert [r.outcome for r in results] == [Outcome.CORRECT, Outcome.COMPILE, Outcome.CORRECT]
    assert results[0] == results[2] == measure(CONV.workload, schedule, core)


def test_budget_beyond_a_small_space_ends_the_search(core: VtaCore) -> None:
    point = ConvWorkload(1, 16, 1, 1, 16, Window((1, 1)), 1, Epilogue(0, True, False, False))
    task = Task("vta", point)
    (result,) = tune_tasks({task: 1}, core, trials=1000).values()
    assert result.measurements < 4 * BATCH
