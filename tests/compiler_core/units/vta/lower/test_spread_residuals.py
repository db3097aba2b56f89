"""Additions of what has one channel, row or column: plain meaning, verifier, bound, one core."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.files.plain import to_plain
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms
from compiler_core.tensor.workload import Spread
from compiler_core.units.vta.documents import DOCUMENTS
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer, measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule_rows import to_rows
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations
from compiler_core.units.vta.verify import first_error, verify
from cost_models.vta.schedule_bound import schedule_bounds
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def spread_case(seed: int, kept: tuple[bool, bool, bool]) -> reference.ConvCase:
    """A random convolution whose residual keeps some of the output's axes."""
    r = random.Random(seed)
    found = reference.random_conv(r)
    while found.operator.channel_shifts is not None:
        found = reference.random_conv(r)
    shift = r.choice([0, 3, 6, 7, 11])
    operator = replace(found.operator, residual="r", residual_shift=shift)
    work = found.terms.workload
    sizes = (work.out_channels, work.out_height, work.out_width)
    shape = tuple(size if keep else 1 for size, keep in zip(sizes, kept, strict=True))
    numbers = np.random.default_rng(seed)
    residual = numbers.integers(-128, 128, (work.batch, *shape)).astype(np.int8)
    terms = conv_terms(
        operator, found.inputs.shape, entry=work.entry, residual_shape=residual.shape
    )
    return reference.ConvCase(operator, found.inputs, residual, terms)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_programs_with_random_schedules(
    core: VtaCore, seed: int, kept: tuple[bool, bool, bool]
) -> None:
    case = spread_case(seed, kept)
    workload, terms = case.terms.workload, case.terms
    assert case.residual is not None
    result = (workload.batch, workload.out_channels, workload.out_height, workload.out_width)
    whole = np.ascontiguousarray(np.broadcast_to(case.residual, result))
    expected = reference.conv(case.operator, case.inputs, whole)
    assert DOCUMENTS.workload(to_plain(workload), "here") == workload
    drawn = random_schedule(random.Random(seed), workload, core)
    for schedule in (drawn, default_schedule(workload, core)):
        program = lower_layer(workload, schedule, core.geometry, terms.requantization)
        dram = program.image(
            case.inputs,
            case.operator.weight,
            terms.constants,
            case.residual,
            case.operator.residual_shift,
        )
        error = first_error(verify(program.lowered.instructions, program.geometry, dram))
        assert error is None, error
        execute(program.lowered.instructions, program.geometry, dram)
        np.testing.assert_array_equal(program.output(dram), expected)
        cycles = measure_layer(workload, schedule, core).cycles
        assert cycles >= lower_bound(workload, core).cycles
        assert cycles >= schedule_bounds(workload, to_rows([schedule]), core)[0]


def test_a_channel_for_each_pixel_is_loaded_once(core: VtaCore) -> None:
    """Adding one vector per block reads as many bytes as there are channels."""
    whole, one = (
        lower_bound(replace(spread_case(1, kept).terms.workload, batch=1), core).reads
        for kept in ((True, True, True), (True, False, False))
    )
    assert one < whole
    workload = spread_case(1, (True, False, False)).terms.workload
    assert workload.spread == Spread(rows=True, columns=True)


def test_spread_additions_stay_on_one_core() -> None:
    workload = spread_case(1, (True, False, False)).terms.workload
    for axis in SliceAxis:
        assert "spread over the output" in str(slice_violations(workload, 2, axis)[0])
