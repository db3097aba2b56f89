"""Records looked up in a database and in memory are the same, and teach the same."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record, machine_digest, record_of
from nest_tune.records.sources import HeldRecords, StoredRecords
from nest_tune.tuning import knowledge as knowledge_module
from nest_tune.tuning.knowledge import knowledge_of
from search_spaces.task_space import task_space

CORE = load_target("vta").npu
LOWERING = knowledge_of(HeldRecords(RecordDatabase("sqlite://").snapshot()), CORE).lowering


def workload(channels: int) -> ConvWorkload:
    window = Window((3, 3), pads=(1, 1, 1, 1))
    return ConvWorkload(1, 16, 8, 8, channels, window, 1, Epilogue(17, True, True, True))


def records_of(channels: int, count: int) -> list[Record]:
    space = task_space(workload(channels), CORE)
    points = space.sample(np.random.default_rng(channels), count)
    found = []
    for number, point in enumerate(points.tolist()):
        failed = number % 7 == 6
        found.append(
            record_of(
                Task("vta", workload(channels)), space.decode(point), machine_digest(CORE),
                LOWERING, MeasurementOutcome.COMPILE if failed else MeasurementOutcome.CORRECT,
                None if failed else 1000 + 13 * number % 101, 64,
            )
        )  # fmt: skip
    return found


@pytest.fixture
def database(tmp_path: Path) -> RecordDatabase:
    found = RecordDatabase(f"sqlite:///{tmp_path / 'n.db'}")
    for channels in (16, 32, 48):
        found.add(records_of(channels, 40))
    other = replace(records_of(16, 1)[0], target="another").sealed()
    found.add([other, replace(other, target=machine_digest(CORE), lowering=LOWERING + 1).sealed()])
    return found


def test_both_find_the_same(database: RecordDatabase) -> None:
    until = database.newest()
    held, stored = HeldRecords(database.snapshot()), StoredRecords(database, until)
    # What comes later counts for neither.
    database.add(records_of(64, 20))
    database.add([replace(r, cycles=(r.cycles or 1) + 1).sealed() for r in records_of(16, 3)])
    target = machine_digest(CORE)
    assert held.count_tasks(target, LOWERING) == stored.count_tasks(target, LOWERING) == 3
    for channels in (16, 32, 64):
        task = Task("vta", workload(channels)).key
        assert list(held.of_task(task, target, LOWERING)) == list(
            stored.of_task(task, target, LOWERING)
        )
    for count in (1, 5, 400):
        found: list[list[tuple[str, list[Record]]]] = [[], []]
        for source, own in zip((held, stored), found, strict=True):
            source.best(
                target, LOWERING, count, lambda task, best, own=own: own.append((task, best))
            )
        assert found[0] == found[1]
        assert [len(best) for _, best in found[0]] == [min(count, 35)] * 3
        assert all(best[0].cycles == min(r.cycles or 0 for r in best) for _, best in found[0])
    default = default_schedule(workload(16), CORE)
    assert knowledge_of(stored, CORE).of(Task("vta", workload(16)))[0][0] != default


def test_what_was_made_since_takes_the_place_of_what_was_known(database: RecordDatabase) -> None:
    stored = StoredRecords(database, database.newest())
    known = knowledge_of(stored, CORE)
    before = known.training_set(CORE)
    assert len(before) == 105
    assert sorted(np.unique(before.task)) == [0, 1, 2]
    changed = [replace(r, cycles=5).sealed() for r in records_of(16, 1)]
    key = Task("vta", workload(16)).key
    after = known.training_set(CORE, more=[*changed, *records_of(64, 10)])
    assert len(after) == 105 + 9
    assert (after.cycles == 5).sum() == 1
    without = known.training_set(CORE, [key], more=changed)
    assert len(without) == 70
    held = knowledge_of(HeldRecords(database.snapshot()), CORE).training_set(CORE)
    np.testing.assert_array_equal(held.values, before.values)
    np.testing.assert_array_equal(held.cycles, before.cycles)


def test_of_many_tasks_fewer_rows_each_are_learnt(
    database: RecordDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge_module, "MOST_ROWS", 60)
    stored = StoredRecords(database, database.newest())
    assert len(knowledge_of(stored, CORE).training_set(CORE)) == 60
    monkeypatch.setattr(knowledge_module, "MOST_ROWS", 3)
    assert len(knowledge_of(stored, CORE).training_set(CORE)) == 3 * 16


def test_records_of_one_task_are_held_at_a_time(database: RecordDatabase) -> None:
    stored = StoredRecords(database, database.newest())
    alive, names = [], []

    def use(task: str, best: list[Record]) -> None:
        names.append(task)
        alive.append(sum(isinstance(item, Record) for item in gc.get_objects()))
        assert len(best) == 30

    gc.collect()
    before = sum(isinstance(item, Record) for item in gc.get_objects())
    stored.best(machine_digest(CORE), LOWERING, 30, use)
    assert len(set(names)) == 3
    assert max(alive) - before < 60


def test_memory_does_not_grow_with_the_number_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = RecordDatabase(f"sqlite:///{tmp_path / 'many.db'}")
    base = records_of(32, 200)
    monkeypatch.setattr(knowledge_module, "MOST_ROWS", 64)
    peaks = []
    for copies in (4, 32):
        many = (
            replace(r, schedule=f"{copies}-{n}-{r.schedule}").sealed()
            for n in range(copies)
            for r in base
        )
        database.add(many)
        tracemalloc.start()
        known = knowledge_of(StoredRecords(database, database.newest()), CORE)
        assert len(known.training_set(CORE)) == 64
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    database.close()
