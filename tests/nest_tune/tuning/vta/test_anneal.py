"""Annealing of programs, and how tuning takes them in."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from compiler_core.errors import InfeasibleError
from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from nest_tune.records.database import RecordDatabase
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.tune import MeasurementBudget, program_obstacles, tune_task
from nest_tune.tuning.vta.anneal import anneal_programs
from search_spaces.vta.resident import first_programs

CORE = load_target("vta").npu
LAYER = ConvWorkload(
    1, 64, 7, 7, 64, Window((3, 3), (1, 1), (1, 1, 1, 1)), 64, Epilogue(17, True, True, True)
)


def test_annealing_repeats_itself_and_finds_better_programs() -> None:
    seen: list[int] = []
    found, again = (
        anneal_programs(
            LAYER, CORE, programs=1200, seed=3, progress=lambda best: seen.append(best.cycles)
        )
        for _ in range(2)
    )
    assert found == again
    assert found.cycles == measure_layer(LAYER, found.best, CORE).cycles
    first = min(measure_layer(LAYER, program, CORE).cycles for program in first_programs(LAYER))
    assert found.cycles < first
    assert found.programs <= 1200 + len(first_programs(LAYER))
    assert seen
    assert min(seen) >= found.cycles
    assert anneal_programs(LAYER, CORE, programs=0, known=[found.best]).best == found.best


def test_time_ends_it() -> None:
    ended = anneal_programs(LAYER, CORE, programs=10**9, end=time.monotonic())
    assert ended.programs <= len(first_programs(LAYER))


def test_a_layer_that_does_not_stay_on_chip_is_refused() -> None:
    with pytest.raises(InfeasibleError, match="does not stay on chip: batch"):
        anneal_programs(replace(LAYER, batch=2), CORE, programs=10)


def test_tuning_keeps_the_program_and_knows_it_again(tmp_path: Path) -> None:
    task, budget = Task("vta", LAYER), MeasurementBudget(trials=8)
    records = RecordDatabase(f"sqlite:///{tmp_path}/records.db")
    plain = tune_task(task, CORE, sampler="random", budget=budget)
    tuned = tune_task(task, CORE, sampler="random", budget=budget, records=records, anneal=400)
    assert isinstance(tuned.best, ResidentSchedule)
    assert tuned.best_cycles < plain.best_cycles
    assert tuned.annealed >= 400
    assert not tuned.proven
    later = tune_task(task, CORE, sampler="random", budget=budget, records=records)
    assert (later.best, later.best_cycles) == (tuned.best, tuned.best_cycles)
    assert later.annealed == 0
    # The cost model learns from the other records of the task.
    known = knowledge_of(records.snapshot(), CORE)
    assert 0 < len(known.training_set(CORE).cycles) < len(records.snapshot().records)
    records.close()


def test_tasks_without_such_programs_are_tuned_as_ever() -> None:
    dense = Task("vta", replace(LAYER, groups=1))
    assert program_obstacles(dense, CORE)
    budget = MeasurementBudget(trials=4)
    expected = tune_task(dense, CORE, sampler="random", budget=budget)
    assert tune_task(dense, CORE, sampler="random", budget=budget, anneal=50) == expected
