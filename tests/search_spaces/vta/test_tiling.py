"""The tiling space: legality is the lowering's, points stand for programs, rules are counted."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    Workload,
)
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import BufferDepth, VtaCore
from compiler_core.units.vta.schedule.schedule import ConvSchedule, MaxPoolSchedule
from compiler_core.units.vta.schedule.schedule_rows import CONV_ENUMS, columns_of, to_row
from search_spaces import task_space
from search_spaces.vta.tiling import TilingSpace
from tests import tiling_workloads
from tests.tiling_workloads import EPILOGUE, SAME

FAR = Epilogue(17, True, True, True, residual_bits=7)
WORKLOADS: dict[str, Workload] = {
    **tiling_workloads.WORKLOADS,
    "conv": ConvWorkload(1, 64, 28, 28, 64, SAME, 1, EPILOGUE),
    "residual": ConvWorkload(1, 32, 14, 14, 64, SAME, 1, FAR),
}


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


@pytest.mark.parametrize("name", WORKLOADS)
def test_legality_is_that_of_the_lowering(name: str, core: VtaCore) -> None:
    space = TilingSpace(WORKLOADS[name], core.geometry)
    lengths = [len(parameter) for parameter in space.parameters]
    points = np.random.default_rng(0).integers(0, lengths, (400, len(lengths)))
    expected = [not violations(space.workload, space.decode(p), core.geometry) for p in points]
    assert space.legal(points).tolist() == expected
    assert any(expected)


@pytest.mark.parametrize("name", WORKLOADS)
def test_default_schedule_is_in_the_space(name: str, core: VtaCore) -> None:
    workload = WORKLOADS[name]
    space = TilingSpace(workload, core.geometry)
    schedule = default_schedule(workload, core)
    point = space.encode(schedule)
    assert space.is_legal(point)
    assert space.encode(space.decode(point)) == point
    expected = measure_layer(workload, schedule, core).cycles
    assert measure_layer(workload, space.decode(point), core).cycles == expected


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_canonical_point_costs_what_its_equals_cost(name: str, core: VtaCore) -> None:
    space = TilingSpace(WORKLOADS[name], core.geometry)
    lengths = [len(parameter) for parameter in space.parameters]
    points = np.random.default_rng(1).integers(0, lengths, (20_000, len(lengths)))
    points = points[space.legal(points)]
    canonical = space.canonical(points)
    assert (space.canonical(canonical) == canonical).all()
    changed = np.flatnonzero((canonical != points).any(axis=1))
    rows = space.rows(points)
    # Small programs first: what they cost does not depend on how many there are.
    changed = changed[np.argsort(-rows[changed, 0] * rows[changed, 1], kind="stable")][:12]
    assert len(changed)
    for number in changed:
        cycles = [
            measure_layer(space.workload, space.decode(p[number]), core).cycles
            for p in (points, canonical)
        ]
        # Addresses in a buffer differ, and with them where micro-op loads are cut into bursts.
        assert cycles[0] == pytest.approx(cycles[1], abs=4)


def test_enumeration_holds_each_legal_canonical_point_once(core: VtaCore) -> None:
    workload = ConvWorkload(1, 32, 2, 3, 16, SAME, 1, EPILOGUE)
    space = TilingSpace(workload, core.geometry)
    points = np.concatenate(list(space.enumerate()))
    assert len(points) == space.size
    assert len(np.unique(points, axis=0)) == len(points)
    assert space.legal(points).all()
    assert (space.canonical(points) == points).all()
    everything = np.stack(
        np.unravel_index(np.arange(space.product_size), [len(p) for p in space.parameters]), axis=1
    )
    kept = everything[space.legal(everything)]
    assert len(np.unique(space.canonical(kept), axis=0)) == space.size


def test_pruning_adds_up(core: VtaCore) -> None:
    space = TilingSpace(ConvWorkload(1, 64, 4, 6, 64, SAME, 1, EPILOGUE), core.geometry)
    counts = space.pruning()
    assert counts[-1].rule == "duplicate"
    assert counts[-1].left == space.size
    assert sum(count.removed for count in counts) + space.size == space.product_size
    assert {c.rule for c in counts if c.removed} >= {"bias by load", "wgt buffer"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_samples_and_neighbours_are_legal_and_distinct(name: str, core: VtaCore) -> None:
    space = TilingSpace(WORKLOADS[name], core.geometry)
    points = space.sample(np.random.default_rng(3), 50)
    again = space.sample(np.random.default_rng(3), 50)
    assert (points == again).all()
    assert len(np.unique(points, axis=0)) == len(points) == 50
    assert space.legal(points).all()
    near = space.neighbours(tuple(points[0].tolist()))
    assert len(near)
    assert space.legal(near).all()
    assert (space.canonical(near) == near).all()
    assert (near != points[0]).any(axis=1).all()


def test_an_empty_space_names_its_rules(core: VtaCore) -> None:
    geometry = replace(core.geometry, depth=BufferDepth(uop=2048, inp=2048, wgt=4, acc=2048))
    space = TilingSpace(ConvWorkload(1, 16, 2, 2, 16, SAME, 1, EPILOGUE), geometry)
    with pytest.raises(InfeasibleError, match="wgt buffer removes"):
        space.require_not_empty()
    with pytest.raises(InfeasibleError, match="wgt buffer removes"):
        space.sample(np.random.default_rng(0), 4)


def test_a_value_outside_the_tables_is_refused(core: VtaCore) -> None:
    space = TilingSpace(WORKLOADS["conv"], core.geometry)
    with pytest.raises(InputError, match=r"tile_height: 13; the space holds 1, 2, "):
        space.encode(ConvSchedule(13, 1, 1, 1))
    with pytest.raises(TypeError, match="MaxPoolSchedule does not schedule a ConvWorkload"):
        space.encode(MaxPoolSchedule(1, 1, 1))


def test_digest_depends_on_workload_and_buffers(core: VtaCore) -> None:
    first = TilingSpace(WORKLOADS["conv"], core.geometry)
    smaller = replace(core.geometry, depth=replace(core.geometry.depth, inp=1024))
    assert first.digest == TilingSpace(WORKLOADS["conv"], core.geometry).digest
    assert first.digest != TilingSpace(WORKLOADS["conv"], smaller).digest
    assert first.digest != TilingSpace(WORKLOADS["dense"], core.geometry).digest


def from_row(workload: Workload, row: np.ndarray) -> ConvSchedule | MaxPoolSchedule:
    """The schedule of a workload that a row of integers stands for."""
    conv = isinstance(workload, ConvWorkload)
    values = {}
    for name, number in zip(columns_of(workload), row, strict=True):
        kind = CONV_ENUMS.get(name)
        values[name] = int(number) if kind is None else tuple(kind)[int(number)]
    if conv:
        return ConvSchedule(**values)  # type: ignore[arg-type]
    return MaxPoolSchedule(**values)  # type: ignore[arg-type]


def test_rows_and_schedules_are_inverse(core: VtaCore) -> None:
    for name in ("conv", "pool"):
        space = TilingSpace(WORKLOADS[name], core.geometry)
        for row in space.rows(space.sample(np.random.default_rng(0), 20)):
            schedule = from_row(space.workload, row)
            assert to_row(schedule) == tuple(row.tolist())


@pytest.mark.parametrize("name", WORKLOADS)
def test_points_judged_by_parts_are_judged_the_same(
    name: str, core: VtaCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = TilingSpace(WORKLOADS[name], core.geometry)
    lengths = [len(parameter) for parameter in space.parameters]
    points = np.random.default_rng(1).integers(0, lengths, (501, len(lengths)))
    legal, canonical = space.legal(points), space.canonical(points)
    stands = space.is_canonical(points)
    assert stands.tolist() == (canonical == points).all(axis=1).tolist()
    monkeypatch.setattr(task_space, "_TOGETHER", 7)
    assert space.legal(points).tolist() == legal.tolist()
    assert space.canonical(points).tolist() == canonical.tolist()
    assert space.is_canonical(points).tolist() == stands.tolist()
    assert len(space.legal(points[:0])) == len(space.canonical(points[:0])) == 0


def test_judging_many_points_takes_little_memory(core: VtaCore) -> None:
    space = TilingSpace(WORKLOADS["conv"], core.geometry)
    lengths = [len(parameter) for parameter in space.parameters]
    points = np.random.default_rng(1).integers(0, lengths, (1 << 16, len(lengths)))
    judged = ((space.legal, 4), (space.is_canonical, 4), (space.canonical, 5))
    for judge, times in judged:
        judge(points[:10])
        tracemalloc.start()
        judge(points)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < times * points.nbytes
