"""Programs whose weights are an activation: plain meaning, verifier, bound."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InfeasibleError
from compiler_core.quantize.ir import IntegerProduct, IntegerTranspose
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import ConvTerms, product_terms, transpose_terms
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer, measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import ConvSchedule
from compiler_core.units.vta.schedule.schedule_rows import to_rows
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations
from compiler_core.units.vta.verify import first_error, verify
from cost_models.vta.schedule_bound import schedule_bounds
from tests.compiler_core.units.vta.random_schedules import random_schedule


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def plain_product(op: IntegerProduct, x: np.ndarray, operand: np.ndarray) -> np.ndarray:
    """Pixel by pixel, in int64."""
    n, channels, height, width = x.shape
    terms = channels // op.groups
    left = x.reshape(n, op.groups, terms, height * width).astype(np.int64)
    right = operand.reshape(n, op.groups, terms, -1).astype(np.int64)
    acc = np.zeros((n, op.groups, right.shape[3], height * width), np.int64)
    for k in range(terms):
        acc += right[:, :, k, :, None] * left[:, :, k, None, :]
    acc = acc + (1 << op.shift >> 1) >> op.shift
    return np.clip(acc, op.clip_min, op.clip_max).astype(np.int8).reshape(n, -1, height, width)


@st.composite
def cases(draw: st.DrawFn) -> tuple[IntegerProduct, np.ndarray, np.ndarray, int]:
    groups = draw(st.integers(1, 3))
    terms, columns = (16 * draw(st.integers(1, 4)) for _ in range(2))
    rows, batch = draw(st.integers(1, 40)), draw(st.integers(1, 2))
    seed = draw(st.integers(0, 2**16))
    generator = np.random.default_rng(seed)
    x = generator.integers(-128, 128, (batch, groups * terms, 1, rows)).astype(np.int8)
    operand = generator.integers(-128, 128, (batch, groups * terms, 1, columns)).astype(np.int8)
    low = draw(st.sampled_from([-128, -100, 0]))
    operator = IntegerProduct("p", "x", "w", "y", groups, draw(st.integers(0, 20)), low, 127)
    return operator, x, operand, seed


def check(
    terms: ConvTerms,
    schedule: ConvSchedule,
    core: VtaCore,
    x: np.ndarray,
    operand: np.ndarray,
    expected: np.ndarray,
) -> None:
    program = lower_layer(terms.workload, schedule, core.geometry, terms.requantization)
    dram = program.image(x, constants=terms.constants, operand=operand)
    error = first_error(verify(program.lowered.instructions, program.geometry, dram))
    assert error is None, error
    execute(program.lowered.instructions, program.geometry, dram)
    assert np.array_equal(program.output(dram), expected)
    cycles = measure_layer(terms.workload, schedule, core).cycles
    assert cycles >= lower_bound(terms.workload, core).cycles
    assert cycles >= schedule_bounds(terms.workload, to_rows([schedule]), core)[0]


@settings(deadline=None, max_examples=60)
@given(cases())
def test_products_with_random_schedules(
    core: VtaCore, case: tuple[IntegerProduct, np.ndarray, np.ndarray, int]
) -> None:
    operator, x, operand, seed = case
    expected = plain_product(operator, x, operand)
    terms = product_terms(operator, x.shape, expected.shape)
    drawn = random_schedule(random.Random(seed), terms.workload, core)
    for schedule in (drawn, default_schedule(terms.workload, core)):
        assert isinstance(schedule, ConvSchedule)
        check(terms, schedule, core, x, operand, expected)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 2), st.integers(0, 99)
)
def test_transpositions_with_random_schedules(
    core: VtaCore, groups: int, terms: int, pixels: int, batch: int, seed: int
) -> None:
    shape = (batch, groups * 16 * terms, 1, 16 * pixels)
    operand = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    turned = operand.reshape(batch, groups, 16 * terms, 16 * pixels).transpose(0, 1, 3, 2)
    expected = turned.reshape(batch, -1, 1, 16 * terms)
    found = transpose_terms(IntegerTranspose("t", "x", "y", groups), expected.shape)
    ones = np.tile(np.eye(16 * terms, dtype=np.int8), (groups, 1))[None, :, None]
    x = np.repeat(ones, batch, axis=0)
    schedule = random_schedule(random.Random(seed), found.workload, core)
    assert schedule is not None
    check(found, schedule, core, x, operand, expected)


def test_products_stay_on_one_core_and_take_tiles(core: VtaCore) -> None:
    operator = IntegerProduct("p", "x", "w", "y", 2, 7)
    workload = product_terms(operator, (1, 32, 1, 5), (1, 64, 1, 5)).workload
    for axis in SliceAxis:
        assert "products of two activations" in str(slice_violations(workload, 2, axis)[0])
    with pytest.raises(InfeasibleError, match="input blocks"):
        lower_layer(workload, ResidentSchedule("I0-1 W0-1 B0-1", "T0-1 Q0-1"), core.geometry)
