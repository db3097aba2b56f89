"""The relaxed walk is a lower bound: of every schedule, on every machine that it knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Window,
    Workload,
)
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn
from cost_models.vta.relaxed_walk import (
    bounds_of_any_slots,
    walk_is_known,
    walked_bounds,
)
from cost_models.vta.schedule_bound import schedule_bounds
from search_spaces.parameter import Points
from search_spaces.vta.tiling import TilingSpace

EPILOGUE = Epilogue(17, True, True, True)
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
KNOWN: dict[str, ConvWorkload] = {
    "conv": ConvWorkload(1, 64, 14, 14, 64, SAME, 1, EPILOGUE),
    "strided": ConvWorkload(1, 48, 28, 28, 96, Window((3, 3), (2, 2), (1, 1, 1, 1)), 1, EPILOGUE),
    "expansion": ConvWorkload(1, 64, 28, 28, 256, Window((1, 1)), 1, EPILOGUE),
    "projection": ConvWorkload(2, 128, 17, 20, 96, Window((1, 1), (2, 2)), 1, EPILOGUE),
    "uneven": ConvWorkload(
        1, 32, 13, 9, 64, Window((2, 3), (1, 2), (0, 1, 1, 0), (1, 2)), 1, EPILOGUE
    ),
    "dense": ConvWorkload(1, 512, 1, 1, 160, Window((1, 1)), 1, EPILOGUE),
    "no bias": ConvWorkload(1, 64, 7, 7, 64, SAME, 1, Epilogue(0, True, False, True)),
    "wide bias": ConvWorkload(1, 32, 7, 7, 64, SAME, 1, Epilogue(20, False, False, False)),
    "stem": ConvWorkload(
        1, 3, 32, 32, 32, Window((7, 7), (2, 2), (3, 3, 3, 3)), 1, EPILOGUE, entry=True
    ),
}
UNKNOWN: dict[str, Workload] = {
    "residual": ConvWorkload(1, 32, 8, 8, 64, SAME, 1, Epilogue(17, True, True, True, 6)),
    "channel shift": ConvWorkload(
        1, 32, 8, 8, 64, SAME, 1, Epilogue(17, True, True, True, channel_shift=True)
    ),
    "depthwise": ConvWorkload(1, 64, 8, 8, 64, SAME, 64, EPILOGUE),
    "grouped": ConvWorkload(1, 64, 8, 8, 128, SAME, 2, EPILOGUE),
    "uniform": ConvWorkload(1, 32, 8, 8, 32, Window((2, 2), (2, 2)), 32, EPILOGUE, uniform=True),
    "pool": MaxPoolWorkload(1, 32, 8, 8, Window((3, 3), (2, 2), (1, 1, 1, 1)), clip_low=True),
}


def sample(space: TilingSpace, seed: int, count: int) -> Points:
    """Random points, half of them among the best by closed form, where gaps are smallest."""
    generator = np.random.default_rng(seed)
    target = load_target("vta").npu
    many = space.sample(generator, 64 * count)
    bounds = schedule_bounds(space.workload, space.rows(many), target)
    promising = many[np.argsort(bounds, kind="stable")[: count // 2]]
    return np.concatenate([promising, space.sample(generator, count // 2)])


def check(workload: ConvWorkload, target: str, seed: int, count: int) -> list[float]:
    """Measures a sample; bound over measured cycles of each."""
    core = load_target(target).npu
    space = TilingSpace(workload, core.geometry)
    points = sample(space, seed, count)
    rows = space.rows(points)
    bounds, closed = walked_bounds(workload, rows, core), schedule_bounds(workload, rows, core)
    of_any = bounds_of_any_slots(workload, rows, core)
    assert (closed <= bounds).all()
    assert (closed <= of_any).all()
    ratios = []
    for point, bound, least in zip(points, bounds.tolist(), of_any.tolist(), strict=True):
        schedule = space.decode(tuple(point.tolist()))
        cycles = measure_layer(workload, schedule, core).cycles
        assert max(bound, least) <= cycles, schedule
        ratios.append(bound / cycles)
    return ratios


@pytest.mark.parametrize("target", ["vta", "vta-ultra96"])
@pytest.mark.parametrize("name", KNOWN)
def test_no_schedule_beats_its_bound(name: str, target: str) -> None:
    assert walk_is_known(KNOWN[name], load_target(target).npu)
    assert max(check(KNOWN[name], target, 3, 24)) > 0.7


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 2),
    st.tuples(*[st.integers(0, 1)] * 4),
    st.tuples(st.integers(4, 20), st.integers(4, 20)),
    st.sampled_from([(20, 40), (48, 16), (64, 128), (256, 64)]),
)
@settings(max_examples=25, deadline=None)
def test_nor_do_those_of_any_window(
    seed: int,
    kernel: tuple[int, int],
    stride: int,
    pads: tuple[int, int, int, int],
    size: tuple[int, int],
    channels: tuple[int, int],
) -> None:
    top, left, bottom, right = (
        min(pad, k - 1) for pad, k in zip(pads, (*kernel, *kernel), strict=True)
    )
    window = Window(kernel, (stride, stride), (top, left, bottom, right))
    check(ConvWorkload(1, channels[0], *size, channels[1], window, 1, EPILOGUE), "vta", seed, 8)


def test_good_schedules_take_little_more_than_their_bound() -> None:
    ratios = check(ConvWorkload(1, 64, 28, 28, 128, SAME, 1, EPILOGUE), "vta", 0, 64)
    assert np.median(ratios[:32]) > 0.98


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "vta") for name in UNKNOWN), ("conv", "vta-pynq")]
)
def test_what_the_walk_does_not_know_has_the_closed_form(name: str, target: str) -> None:
    # Bursts of vta-pynq are shorter than a batch of instructions.
    workload, core = {**UNKNOWN, **KNOWN}[name], load_target(target).npu
    assert not walk_is_known(workload, core)
    space = TilingSpace(workload, core.geometry)
    rows = space.rows(space.sample(np.random.default_rng(0), 50))
    expected = schedule_bounds(workload, rows, core)
    np.testing.assert_array_equal(walked_bounds(workload, rows, core), expected)
    np.testing.assert_array_equal(bounds_of_any_slots(workload, rows, core), expected)


def test_the_other_profile_is_not_known() -> None:
    assert not walk_is_known(KNOWN["conv"], load_target("vta-rtl2020").npu)


def test_a_limit_leaves_lower_bounds_as_they_are() -> None:
    workload, core = KNOWN["conv"], load_target("vta").npu
    space = TilingSpace(workload, core.geometry)
    rows = space.rows(sample(space, 0, 200))
    full = walked_bounds(workload, rows, core)
    limit = int(np.median(full))
    limited = walked_bounds(workload, rows, core, limit)
    np.testing.assert_array_equal(limited[full < limit], full[full < limit])
    assert (limited[full >= limit] >= limit).all()


def test_slots_and_ways_to_load_do_not_matter_where_they_are_not_read() -> None:
    workload, core = KNOWN["strided"], load_target("vta").npu
    space = TilingSpace(workload, core.geometry)
    rows = space.rows(sample(space, 0, 40))
    others = rows.copy()
    others[:, ConvColumn.INPUT_SLOTS : ConvColumn.OUTPUT_SLOTS + 1] = 1
    others[:, ConvColumn.MICRO_OPS] = 1
    np.testing.assert_array_equal(
        bounds_of_any_slots(workload, rows, core), bounds_of_any_slots(workload, others, core)
    )
