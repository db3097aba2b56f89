"""Max pools in parts: the maxima of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.quantize.arithmetic import OperatorWindow
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms, max_pool_terms
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import MAX_TILES, most_tiles, violations
from compiler_core.units.vta.legality.pool_parts import pool_parts
from compiler_core.units.vta.legality.window_limits import window_misfit
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.schedule.schedule import MaxPoolSchedule
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.test_lowering import check_conv, check_program


def maxima(image: npt.NDArray[np.int8], window: Window) -> npt.NDArray[np.int8]:
    operator = IntegerMaxPool(
        "p", "x", "y", window.kernel, window.strides, window.pads, window.dilations
    )
    return reference.max_pool(operator, image)


def fits(window: Window, size: tuple[int, int]) -> bool:
    read = OperatorWindow(
        window.kernel, window.dilations, size, distinct_weights=False, compares=True, outputs=1
    )
    return window_misfit(read) is None


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(40, 70), st.integers(40, 70)),
    more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    strides=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pads=st.tuples(*[st.integers(0, 9)] * 4),
    seed=st.integers(0, 99),
)
def test_rectangles(
    kernel: tuple[int, int],
    more: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    seed: int,
) -> None:
    window, size = Window(kernel, strides, pads), (kernel[0] + more[0], kernel[1] + more[1])
    image = np.random.default_rng(seed).integers(-128, 128, (1, 2, *size)).astype(np.int8)
    result = image
    parts = pool_parts(window, size)
    for part in parts:
        assert fits(part, (result.shape[2], result.shape[3]))
        result = maxima(result, part)
    assert len(parts) == (1 if fits(window, size) else 2)
    assert np.array_equal(result, maxima(image, window))


@settings(max_examples=20, deadline=None)
@given(size=st.integers(2046, 6000), pad=st.integers(0, 30), across=st.booleans())
def test_lines_over_all_there_is(size: int, pad: int, across: bool) -> None:
    kernel = (1, size + pad) if across else (size + pad, 1)
    pads = (0, pad, 0, 0) if across else (pad, 0, 0, 0)
    shape = (1, size) if across else (size, 1)
    image = np.random.default_rng(size).integers(-128, 128, (1, 1, *shape)).astype(np.int8)
    result = image
    for part in pool_parts(Window(kernel, (1, 1), pads), shape):
        assert fits(part, (result.shape[2], result.shape[3]))
        result = maxima(result, part)
    assert result.reshape(()) == image.max()


def test_what_has_no_parts_stays_whole() -> None:
    window = Window((1, 2100), (1, 7))
    assert pool_parts(window, (1, 9000)) == (window,)


def test_a_long_line_whose_windows_fill_the_buffer_takes_tiles_of_several() -> None:
    core = load_target("vta").npu
    workload = MaxPoolWorkload(
        1, 1, 1, 220_000, Window((1, 200), (1, 10), (0, 100, 0, 100), (1, 10))
    )
    schedule = default_schedule(workload, core)
    assert not violations(workload, schedule, core.geometry)
    assert isinstance(schedule, MaxPoolSchedule)
    assert schedule.tile_width > 1


def test_large_operators_may_take_more_steps() -> None:
    epilogue = Epilogue(17, True, True, True)
    usual = ConvWorkload(1, 64, 224, 224, 64, Window((3, 3), (1, 1), (1, 1, 1, 1)), 1, epilogue)
    assert most_tiles(usual) == MAX_TILES
    large = ConvWorkload(1, 64, 1536, 2048, 64, Window((3, 3), (1, 1), (1, 1, 1, 1)), 1, epilogue)
    assert most_tiles(large) > MAX_TILES
    core = load_target("vta").npu
    assert not violations(large, default_schedule(large, core), core.geometry)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(1, 70_000), (3, 70_000)])
def test_rows_further_apart_than_a_transfer_can_say(height: int, width: int) -> None:
    core = load_target("vta").npu
    image = np.random.default_rng(0).integers(-128, 128, (1, 3, height, width)).astype(np.int8)
    window = Window((height, 40), (1, 35))
    pool = IntegerMaxPool("p", "x", "y", window.kernel, window.strides, window.pads, (1, 1))
    workload, requantization = max_pool_terms(pool, image.shape)
    program = lower_layer(workload, default_schedule(workload, core), core.geometry, requantization)
    check_program(program, program.image(image), reference.max_pool(pool, image))
    weight = np.random.default_rng(1).integers(-9, 9, (5, 3, 1, 40)).astype(np.int8)
    pads, bias = (0, 20, 0, 19), np.zeros(5, np.int32)
    operator = IntegerConv(
        "c", "x", "y", weight, bias, (1, 7), pads, (1, 1), 1, 6, -128, 127
    )  # fmt: skip
    case = reference.ConvCase(operator, image, None, conv_terms(operator, image.shape))
    check_conv(case, default_schedule(case.terms.workload, core), core)
