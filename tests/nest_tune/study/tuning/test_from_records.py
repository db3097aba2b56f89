"""Schedules that a study takes for its tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler_core.files.plain import from_plain
from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant
from nest_tune.records.database import RecordDatabase
from nest_tune.records.sharing import SharedRecords
from nest_tune.records.sources import HeldRecords
from nest_tune.study.tuning import from_records as tasks
from nest_tune.study.tuning.seam import CountedTask
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.steps import measured_by

STEM = ConvWorkload(
    1,
    3,
    32,
    32,
    16,
    Window((3, 3), pads=(1, 1, 1, 1)),
    1,
    Epilogue(17, True, True, True),
    entry=True,
)
"""Nine of its folded channels fit a block of 16, all 27 need two."""


def tuned(target, database_url):
    database = RecordDatabase(database_url)
    start = HeldRecords(database.snapshot())
    tuner = tasks.RecordTuner(
        target.cpu, target.units[0], start, "xgb", 0, {}, lambda _search: None
    )
    try:
        steps = tuner.tuning([CountedTask(Task("vta", STEM), 1)], [])
        with Measurer(target.npu, shared=SharedRecords(database)) as measurer:
            (found,) = measured_by(
                steps, lambda wishes: measurer.measure([(w, s) for _, w, s in wishes])
            ).values()
    finally:
        database.close()
    return found, from_plain(ConvSchedule, found.schedule, "schedule")


def test_the_layout_of_an_input_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "PER_TASK", 24)
    target = load_target("vta")
    copying = replace(target, cpu=replace(target.cpu, copy_bytes_per_cycle=1e9))
    fast, fast_schedule = tuned(copying, f"sqlite:///{tmp_path / 'fast.db'}")
    slow, slow_schedule = tuned(target, f"sqlite:///{tmp_path / 'slow.db'}")
    assert fast_schedule.fold is FoldVariant.WINDOW
    assert slow_schedule.fold is not FoldVariant.WINDOW
    assert fast.cycles < slow.cycles

    def whole(schedule):
        cycles = measure_layer(STEM, schedule, target.npu).cycles
        return cycles + tasks.layout_cycles(STEM, schedule, target.npu, target.cpu)

    assert whole(slow_schedule) < whole(fast_schedule)
    assert whole(slow_schedule) <= whole(default_schedule(STEM, target.npu))


def test_layout_takes_what_its_bytes_take():
    target = load_target("vta")
    flat = default_schedule(STEM, target.npu)
    cpu_cycles = {
        FoldVariant.NONE: 32 * 32 * 16,
        FoldVariant.COLUMNS: 32 * 32 * 16,
        FoldVariant.WINDOW: 32 * 32 * 32,
    }
    for fold, size in cpu_cycles.items():
        taken = tasks.layout_cycles(STEM, replace(flat, fold=fold), target.npu, target.cpu)
        expected = (
            size / target.cpu.copy_bytes_per_cycle / target.cpu.clock_hz * target.npu.clock_hz
        )
        assert taken == pytest.approx(expected)
