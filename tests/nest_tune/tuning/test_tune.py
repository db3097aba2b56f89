"""Tuning: the default first, the same trials for any number of workers, records that replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from cost_models.boosted import BoostedModel
from cost_models.evaluation import adds_something, held_out, quality
from cost_models.training import TrainingSet
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import MeasurementOutcome, Record
from nest_tune.samplers.schedules.exhaustive import ExhaustiveScheduleSampler
from nest_tune.samplers.schedules.sampler import Problem
from nest_tune.tuning.knowledge import BASE, Knowledge, knowledge_of
from nest_tune.tuning.measure import Measurer, measure
from nest_tune.tuning.task_search import BATCH
from nest_tune.tuning.tune import MeasurementBudget, taught_by, tune_task, tune_tasks
from search_spaces.task_space import task_space

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
    assert measure(CONV.workload, too_large, core).outcome is MeasurementOutcome.COMPILE
    with Measurer(core, jobs=2) as measurer:
        results = measurer.measure([(CONV.workload, s) for s in (schedule, too_large, schedule)])
    assert [r.outcome for r in results] == [
        MeasurementOutcome.CORRECT,
        MeasurementOutcome.COMPILE,
        MeasurementOutcome.CORRECT,
    ]
    assert results[0] == results[2] == measure(CONV.workload, schedule, core)


def test_budget_beyond_a_small_space_ends_the_search(core: VtaCore) -> None:
    point = ConvWorkload(1, 16, 1, 1, 16, Window((1, 1)), 1, Epilogue(0, True, False, False))
    task = Task("vta", point)
    (result,) = tune_tasks({task: 1}, core, trials=1000).values()
    assert result.measurements < 4 * BATCH


def test_a_space_is_finished_where_the_bounds_leave_few_schedules(core: VtaCore) -> None:
    """Within the budget, not asked for: what is said to be proven is what an exhaustive search
    finds; a sampler that was asked for by name is left alone."""
    epilogue = Epilogue(17, True, False, True)
    small = Task("vta", ConvWorkload(1, 480, 40, 40, 96, Window((1, 1)), 1, epilogue))
    found = tune_task(small, core, budget=MeasurementBudget(64))
    optimum = tune_task(small, core, exhaustive=True)
    assert found.proven
    assert found.best_cycles > found.bound_cycles  # a proof, not luck
    assert found.best_cycles == optimum.best_cycles
    assert found.measurements < 64
    other = tune_task(small, core, sampler="random", budget=MeasurementBudget(24))
    assert (other.measurements, other.least_cycles) == (24, other.bound_cycles)


@given(st.integers(0, 200), st.integers(1, 40), st.integers(1, 6))
@settings(max_examples=12, deadline=None)
def test_what_is_left_to_be_measured_is_counted(seed: int, most: int, parts: int) -> None:
    """However few parts a question opens: its answer is yes once no more schedules than ``most``
    have bounds below the best, and measuring these proves it."""
    machine = load_target("vta").npu
    space = task_space(TINY.workload, machine)
    start = space.encode(default_schedule(TINY.workload, machine))
    problem = Problem(space, machine, start, seed)
    prover = ExhaustiveScheduleSampler(problem)
    drawn = [tuple(p) for p in space.sample(np.random.default_rng(seed), 12).tolist()]
    points = list(dict.fromkeys([start, *drawn]))
    known = [(p, measure(TINY.workload, space.decode(p), machine).cycles) for p in points]
    prover.observe(known)
    for _ in range(200):
        if prover.within(most, parts):
            break
    else:
        return  # more than that are left
    spent = 0
    while proposed := prover.propose(4):
        spent += len(proposed)
        prover.observe(
            [(p, measure(TINY.workload, space.decode(p), machine).cycles) for p in proposed]
        )
    assert spent <= most
    assert prover.proven


def test_networks_teach_where_a_test_on_networks_says_so(core: VtaCore) -> None:
    kept: list[Record] = []
    tasks = [Task("vta", replace(CONV.workload, out_channels=16 * n)) for n in range(1, 5)]
    tune_tasks(dict.fromkeys(tasks, 1), core, sampler="random", trials=64, keep=kept.extend)
    knowledge = knowledge_of(Snapshot(tuple(kept)), core)
    keys = [task.key for task in tasks]
    halves = {"a": set(keys[:2]), "b": set(keys[2:])}
    assert knowledge.transfers(core, {}) == ()
    assert knowledge.transfers(core, {"a": set(keys)}) == ()
    numbers = knowledge.network_numbers(core, halves.values())
    assert sorted(n for group in numbers for n in group) == [0, 1, 2, 3]
    data = knowledge.training_set(core)
    by_number = sorted(keys)
    assert [{by_number[n] for n in group} for group in numbers] == list(halves.values())

    def train(part: TrainingSet) -> BoostedModel:
        return BoostedModel.train(part, 0, BASE)

    predicted, done = held_out(data, numbers, train)
    assert done.all()
    for group in numbers:  # nothing of a network is seen by the model that predicts it
        held = np.isin(data.task, group)
        mean, _ = train(data.only(~held)).correction(data.values[held])
        np.testing.assert_allclose(predicted[held], data.walk_cycles[held] * np.exp(mean))
    walk, model = quality(data.walk_cycles, data), quality(predicted, data)
    helped = ("conv2d",) if adds_something(walk, model) else ()
    assert knowledge.transfers(core, halves) == helped
    assert set(knowledge.operators(core)) == {"conv2d"}


def test_a_task_is_taught_by_networks_that_have_it_not(
    core: VtaCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Record] = []
    tasks = [Task("vta", replace(CONV.workload, out_channels=16 * n)) for n in range(1, 4)]
    tune_tasks(dict.fromkeys(tasks, 1), core, sampler="random", trials=48, keep=kept.extend)
    knowledge = knowledge_of(Snapshot(tuple(kept)), core)
    networks = {"a": {tasks[1].key}, "b": {tasks[2].key}, "own": {tasks[0].key}}
    asked = []

    def helps(_self: Knowledge, _machine: object, found: Mapping[str, Any]) -> tuple[str, ...]:
        asked.append(dict(found))
        return ("conv2d",)

    monkeypatch.setattr(Knowledge, "transfers", helps)
    model = taught_by(networks, knowledge, tasks[0], core, 3)
    assert asked == [{"a": networks["a"], "b": networks["b"]}]
    data = knowledge.training_set(core)
    expected = knowledge.base_model(core, 3, [tasks[0].key])
    assert model is not None
    for ours, wanted in zip(
        model.correction(data.values), expected.correction(data.values), strict=True
    ):
        np.testing.assert_array_equal(ours, wanted)
    monkeypatch.setattr(Knowledge, "transfers", lambda *_: ())
    assert taught_by(networks, knowledge, tasks[0], core, 3) is None
