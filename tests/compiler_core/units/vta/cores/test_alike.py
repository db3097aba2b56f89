"""Operators over several cores as tasks: one schedule for all slices."""

from __future__ import annotations

import random

import numpy as np
import pytest

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.plain import to_plain
from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import MaxPoolWorkload, Window, Workload
from compiler_core.units.registry import unit_kind
from compiler_core.units.vta.cores.alike import schedules_alike, violations_alike
from compiler_core.units.vta.cores.multicore_layer import measure_sliced
from compiler_core.units.vta.cores.multicore_schedule import default_slicings
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations
from cost_models.task_features import BoundDepth, task_features
from nest_tune.tuning.tune import MeasurementBudget, tune_task
from search_spaces.task_space import task_space
from tests.compiler_core.units.vta.cores.test_multicore_schedule import layer
from tests.compiler_core.units.vta.reference_operators import random_conv

KIND = unit_kind("vta")
DOCUMENTS = KIND.documents


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta-x2").npu


def random_slicings(seed: int, count: int) -> list[SlicedWorkload]:
    chance = random.Random(seed)
    found: list[SlicedWorkload] = []
    while len(found) < count:
        workload: Workload = random_conv(chance).terms.workload
        if chance.random() < 0.25:
            window = Window((chance.choice((2, 3)),) * 2, (2, 2), (chance.choice((0, 1)),) * 4)
            size, channels = chance.randint(6, 20), chance.choice((16, 40, 64))
            workload = MaxPoolWorkload(1, channels, size, size, window)
        cores, axis = chance.choice((2, 3, 4)), chance.choice(list(SliceAxis))
        if getattr(workload, "entry", False) or slice_violations(workload, cores, axis):
            continue
        found.append(SlicedWorkload(workload, cores, axis))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_what_the_space_offers_is_what_every_slice_can_run(core: VtaCore, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for sliced in random_slicings(seed, 6):
        space = task_space(sliced, core)
        points = space.canonical(space._draw(generator, 24))
        legal = space.legal(points)
        for point, is_legal in zip(points.tolist(), legal.tolist(), strict=True):
            schedule = space.decode(point)
            parts = schedules_alike(sliced, schedule)
            broken = [
                *violations(sliced.largest, schedule, core.geometry),
                *(
                    reason
                    for part, own in zip(sliced.slices, parts, strict=True)
                    for reason in violations(part.workload, own, core.geometry)
                ),
            ]
            assert is_legal == (not broken), (sliced, schedule, broken)
            assert bool(violations_alike(sliced, schedule, core.geometry)) == bool(broken)


@pytest.mark.parametrize("seed", range(3))
def test_a_cost_is_that_of_the_slices_side_by_side_and_no_bound_is_above_it(
    core: VtaCore, seed: int
) -> None:
    known = task_features(core)
    for sliced in random_slicings(100 + seed, 4):
        try:
            default = KIND.tasks.default(sliced, core)
        except InfeasibleError:
            continue
        cost = KIND.tasks.measure(sliced, default, core)
        parts = schedules_alike(sliced, default)
        plain = measure_sliced(sliced.whole, parts, core, sliced.cores, sliced.axis)
        assert cost.cycles == plain.cycles
        assert KIND.tasks.bound(sliced, core).cycles <= cost.cycles
        space = task_space(sliced, core)
        rows = space.rows(np.array([space.encode(default)], np.int64))
        for depth in BoundDepth:
            assert known.bounds(sliced, rows, core, depth)[0] <= cost.cycles
        assert len(known.features(sliced, rows, core).values) == 1


def test_a_workload_survives_being_a_document() -> None:
    for sliced in random_slicings(7, 20):
        plain = to_plain(sliced)
        read = DOCUMENTS.workload(plain, "workload", bounded=True)
        assert read == sliced
        assert Task("vta", read).id == Task("vta", sliced).id
        assert Task("vta", sliced).id != Task("vta", sliced.whole).id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cores": 1}, "allowed are 2 to 64"),
        ({"cores": 65}, "allowed are 2 to 64"),
        ({"axis": "columns"}, "axis"),
        ({"cors": 2}, "cors"),
        ({"whole": None}, "whole"),
    ],
)
def test_wrong_documents_are_refused(change: dict[str, object], message: str) -> None:
    plain = to_plain(SlicedWorkload(layer(64, 8, 64, 3, 1), 2, SliceAxis.ROWS))
    with pytest.raises(InputError, match=message):
        DOCUMENTS.workload({**plain, **change}, "workload")


def test_an_operator_is_cut_once_and_where_it_can_be() -> None:
    sliced = SlicedWorkload(layer(16, 8, 16, 3, 1), 2, SliceAxis.ROWS)
    twice = {"whole": to_plain(sliced), "cores": 2, "axis": "rows"}
    with pytest.raises(InputError, match="cut once"):
        DOCUMENTS.workload(twice, "workload")
    with pytest.raises(InputError, match="blocks of 16 output channels"):
        DOCUMENTS.workload({**to_plain(sliced), "axis": "channels"}, "workload")


def test_a_search_beats_the_untuned_slices(core: VtaCore) -> None:
    workload = layer(64, 28, 128, 1, 2)
    untuned = default_slicings(workload, core, 2)[SliceAxis.ROWS].result.cycles
    task = Task("vta", SlicedWorkload(workload, 2, SliceAxis.ROWS))
    found = tune_task(task, core, budget=MeasurementBudget(48), seed=0)
    assert found.best_cycles < untuned
    assert found.bound_cycles <= found.best_cycles
