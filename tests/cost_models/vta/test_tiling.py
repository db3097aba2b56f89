"""Features: the coarse walk ranks, bounds hold, everything is finite and fast."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import (
    ConvWorkload,
    MaxPoolWorkload,
)
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.lower.slots import SlotPool, streams
from cost_models.evaluation import kendall_tau
from cost_models.vta._pipeline_kernel import _assign_slots, _assign_weight_slots
from cost_models.vta.schedule_bound import schedule_bounds
from cost_models.vta.tiling import FEATURES, NAMES, tiling_features
from search_spaces.vta.tiling import TilingSpace
from tests.tiling_workloads import EPILOGUE, SAME, WORKLOADS

USUAL = (0.6, 0.06)
LIMITS = {
    "residual": (0.5, 0.07),  # over six samples of points: 0.59 to 0.75, and 0.039 to 0.063
    "depthwise": (0.5, 0.07),
    "dense": (0.3, 0.06),  # over six samples: 0.32 to 0.63, and 0.011 to 0.052
    "uniform": (0.4, 0.16),
    "pool": (0.1, 0.25),  # a closed form alone
}
"""Least rank correlation and largest median error of the walk on both targets."""


@pytest.mark.parametrize("target", ["vta", "vta-rtl2020"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_walk_and_bound_against_measurements(name: str, target: str) -> None:
    core, workload = load_target(target).npu, WORKLOADS[name]
    space = TilingSpace(workload, core.geometry)
    sampled = space.sample(np.random.default_rng(0), 400)
    walked = tiling_features(workload, space.rows(sampled), core).walk_cycles
    points = sampled[np.argsort(walked, kind="stable")[:240:10]]
    features = tiling_features(workload, space.rows(points), core)
    measured = [measure_layer(workload, space.decode(p), core).cycles for p in points]
    bounds = schedule_bounds(workload, space.rows(points), core)
    assert (bounds <= measured).all()
    assert (bounds >= lower_bound(workload, core).cycles).all()
    least_tau, limit = LIMITS.get(name, USUAL)
    assert kendall_tau(features.walk_cycles, np.array(measured, float)) > least_tau
    error = float(np.median(np.abs(features.walk_cycles / measured - 1)))
    assert error < limit


@pytest.mark.parametrize("name", WORKLOADS)
def test_features_do_not_depend_on_the_batch(name: str) -> None:
    core, workload = load_target("vta").npu, WORKLOADS[name]
    space = TilingSpace(workload, core.geometry)
    rows = space.rows(space.sample(np.random.default_rng(1), 30))
    together = tiling_features(workload, rows, core)
    alone = np.concatenate(
        [tiling_features(workload, rows[i : i + 1], core).values for i in range(30)]
    )
    assert np.array_equal(together.values, alone, equal_nan=True)
    if not isinstance(workload, MaxPoolWorkload):
        assert np.isfinite(together.values).all()


def test_features_are_documented() -> None:
    assert len(set(NAMES)) == len(FEATURES)
    assert all(unit and meaning for _, unit, meaning in FEATURES)


@pytest.mark.parametrize("seed", range(40))
def test_slots_are_those_of_the_lowering(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distinct, slots = int(generator.integers(1, 12)), int(generator.integers(1, 9))
    keys = generator.integers(0, distinct, int(generator.integers(1, 60)))
    slot_of, hit = np.empty(len(keys), np.int64), np.empty(len(keys), np.bool_)
    scratch = np.empty(distinct + 1, np.int64)
    streamed = seed % 2 == 1
    misses = _assign_slots(keys, len(keys), slots, distinct, slot_of, hit, scratch, streamed)
    pool = SlotPool(0, slots, 1, keys.tolist(), streamed=streamed)
    expected = [pool.acquire()[1] for _ in keys]
    assert hit.tolist() == expected
    assert misses == expected.count(False)


@pytest.mark.parametrize("seed", range(40))
def test_weights_stream_where_those_of_the_lowering_do(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distinct, slots = int(generator.integers(1, 30)), int(generator.integers(1, 9))
    circle = np.arange(distinct)
    keys = np.concatenate([circle[:: int(generator.choice([-1, 1]))] for _ in range(4)])
    slot_of, hit = np.empty(len(keys), np.int64), np.empty(len(keys), np.bool_)
    scratch = np.empty(distinct + 1, np.int64)
    misses = _assign_weight_slots(keys, len(keys), slots, distinct, slot_of, hit, scratch)
    uses = keys.tolist()
    pool = SlotPool(0, slots, 1, uses, streamed=streams(uses, slots))
    assert [(int(s), bool(h)) for s, h in zip(slot_of, hit, strict=True)] == [
        (slot.base, resident) for slot, resident in (pool.acquire() for _ in uses)
    ]
    assert misses == len(uses) - int(hit.sum())


def test_ten_thousand_candidates_are_scored_as_each_alone() -> None:
    core = load_target("vta").npu
    workload = ConvWorkload(1, 256, 14, 14, 256, SAME, 1, EPILOGUE)
    space = TilingSpace(workload, core.geometry)
    sampled = space.sample(np.random.default_rng(0), 4000)
    walked = tiling_features(workload, space.rows(sampled), core).walk_cycles
    good = sampled[np.argsort(walked, kind="stable")[:1000]]
    rows = space.rows(np.tile(good, (10, 1)))
    again = tiling_features(workload, rows, core).walk_cycles
    assert np.array_equal(again, np.tile(np.sort(walked, kind="stable")[:1000], 10))
