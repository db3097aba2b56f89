"""Kernels that are larger than the buffers, walked in parts: the bits of the whole window."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from compiler_core.quantize.ir import IntegerConv
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant
from compiler_core.units.vta.structure import kernel_tiles
from compiler_core.units.vta.structure.kernel_tiles import (
    kernel_parts,
    kernel_tile,
    part_workload,
    tile_of,
)
from cost_models.vta.relaxed_walk import walked_bounds
from search_spaces.vta.tiling import TilingSpace
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule
from tests.compiler_core.units.vta.test_lowering import check_conv


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def forget() -> None:
    for cached in (tile_of, kernel_parts, part_workload, default_schedule):
        cached.cache_clear()


@pytest.fixture
def few_taps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limits so low that ordinary kernels are cut."""
    monkeypatch.setattr(kernel_tiles, "MOST_TAPS", 3)
    monkeypatch.setattr(kernel_tiles, "MOST_PIXELS", 4)
    monkeypatch.setattr(kernel_tiles, "_TAPS_OF_A_PART", 2)
    monkeypatch.setattr(kernel_tiles, "_PIXELS_OF_A_PART", 3)
    forget()
    yield
    forget()


@pytest.mark.usefixtures("few_taps")
@pytest.mark.parametrize("seed", range(40))
def test_random_convolutions_in_parts(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    case = reference.random_conv(r)
    workload = case.terms.workload
    schedule = random_schedule(r, workload, core) if seed % 2 else default_schedule(workload, core)
    assert schedule is not None
    check_conv(case, schedule, core)


@pytest.mark.usefixtures("few_taps")
@pytest.mark.parametrize("fold", FoldVariant)
def test_a_stem_in_parts_folds_its_taps(fold: FoldVariant, core: VtaCore) -> None:
    check_conv(reference.stem_case(20), ConvSchedule(2, 5, 2, 1, fold=fold), core)


@pytest.mark.usefixtures("few_taps")
@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_bounds_and_rules_of_parts(seed: int, core: VtaCore) -> None:
    workload = reference.random_conv(random.Random(seed)).terms.workload
    space = TilingSpace(workload, core.geometry)
    numbers = np.random.default_rng(seed)
    points = np.stack(
        [numbers.integers(0, len(p.values), 60) for p in space.parameters], axis=1
    ).astype(np.int64)
    legal = space.legal(points)
    expected = [not violations(workload, space.decode(p), core.geometry) for p in points]
    assert list(legal) == expected
    for point, bound in zip(
        points[legal][:3], walked_bounds(workload, space.rows(points[legal])[:3], core), strict=True
    ):
        assert bound <= measure_layer(workload, space.decode(point), core).cycles


LARGE = {
    "patches": ((3, 64, 64), (20, 3, 32, 32), (32, 32), (0, 0, 0, 0), 1),
    "line": ((1, 1, 4000), (18, 1, 1, 1024), (1, 512), (0, 512, 0, 512), 1),
    "wide": ((17, 1, 2100), (3, 17, 1, 1500), (1, 300), (0, 0, 0, 0), 1),
    "image": ((18, 48, 48), (5, 18, 48, 48), (1, 1), (0, 0, 0, 0), 1),
    "padded": ((16, 30, 30), (16, 1, 35, 33), (3, 2), (20, 9, 8, 17), 16),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_kernels(name: str, core: VtaCore) -> None:
    size, kernel, strides, pads, groups = LARGE[name]
    random_numbers = np.random.default_rng(5)
    weight = random_numbers.integers(-3, 4, kernel).astype(np.int8)
    bias = random_numbers.integers(-1000, 1000, kernel[0]).astype(np.int32)
    operator = IntegerConv("c", "x", "y", weight, bias, strides, pads, (1, 1), groups, 9, -128, 127)
    inputs = random_numbers.integers(-128, 128, (1, *size)).astype(np.int8)
    terms = conv_terms(operator, inputs.shape)
    assert len(kernel_parts(terms.workload)) > 1
    case = reference.ConvCase(operator, inputs, None, terms)
    check_conv(case, default_schedule(terms.workload, core), core)


def test_a_global_average_of_any_size(core: VtaCore) -> None:
    weight = np.full((20, 1, 70, 70), 3, np.int8)
    operator = IntegerConv(
        "p", "x", "y", weight, np.zeros(20, np.int32), (1, 1), (0, 0, 0, 0), (1, 1), 20, 12,
        -128, 127,
    )  # fmt: skip
    inputs = np.random.default_rng(1).integers(-128, 128, (1, 20, 70, 70)).astype(np.int8)
    terms = conv_terms(operator, inputs.shape)
    assert terms.workload.uniform
    assert len(kernel_parts(terms.workload)) == 10
    case = reference.ConvCase(operator, inputs, None, terms)
    check_conv(case, default_schedule(terms.workload, core), core)


def test_parts_are_whole_rows_or_runs_of_one() -> None:
    def tile(kernel: tuple[int, int], image: tuple[int, int], *, distinct: bool) -> tuple[int, int]:
        return kernel_tile(kernel, (1, 1), image, distinct_weights=distinct)

    assert tile((31, 32), (99, 99), distinct=True) == (31, 32)
    assert tile((32, 32), (99, 99), distinct=True) == (8, 32)
    assert tile((1, 1024), (1, 9999), distinct=True) == (1, 256)
    assert tile((2, 1024), (2, 9999), distinct=True) == (1, 256)
    assert tile((45, 45), (99, 99), distinct=False) == (45, 45)
    assert tile((46, 46), (99, 99), distinct=False) == (10, 46)
    assert tile((46, 46), (20, 20), distinct=False) == (46, 46)
    assert kernel_tile((3, 3), (40, 40), (99, 99), distinct_weights=True) == (1, 3)
    assert kernel_tile((1, 3), (1, 2000), (1, 9999), distinct_weights=True) == (1, 1)


def test_one_block_of_a_kernel_in_parts_at_a_time(core: VtaCore) -> None:
    workload = ConvWorkload(1, 64, 40, 40, 16, Window((33, 33)), 1, Epilogue(17, True, True, True))
    found = violations(workload, ConvSchedule(1, 1, 1, 2), core.geometry)
    assert any(item.rule == "tile_in_blocks" for item in found)
    assert not violations(workload, ConvSchedule(1, 1, 1, 1, weight_slots=2), core.geometry)
