"""Programs that store phases side by side: plain meaning, verifier, bound, one core."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms
from compiler_core.units.vta.documents import DOCUMENTS
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import lower_layer, measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import ConvSchedule, EpilogueGranularity
from compiler_core.units.vta.schedule.schedule_rows import to_rows
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations
from compiler_core.units.vta.verify import first_error, verify
from cost_models.vta.relaxed_walk import walked_bounds
from cost_models.vta.schedule_bound import schedule_bounds
from search_spaces.vta.tiling import TilingSpace
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def side_by_side(phases: np.ndarray, size: int) -> np.ndarray:
    """Channel ``(r * size + s) * C + c`` at (h, w) becomes c at (h * size + r, w * size + s)."""
    n, channels, height, width = phases.shape
    apart = phases.reshape(n, size, size, -1, height, width)
    result = np.zeros((n, channels // size**2, height * size, width * size), phases.dtype)
    for r in range(size):
        for s in range(size):
            result[:, :, r::size, s::size] = apart[:, r, s]
    return result


def interleaved_case(seed: int) -> reference.ConvCase:
    """A random convolution whose outputs are whole blocks for each phase."""
    r = random.Random(seed)
    found = reference.random_conv(r)
    while found.operator.residual or found.operator.groups > 1:
        found = reference.random_conv(r)
    size, blocks = r.choice([2, 2, 3, 4]), r.choice([1, 1, 2])
    outputs = size * size * blocks * 16
    numbers = np.random.default_rng(seed)
    shape = (outputs, *found.operator.weight.shape[1:])
    operator = replace(
        found.operator,
        weight=numbers.integers(-127, 128, shape).astype(np.int8),
        bias=numbers.integers(-5000, 5000, outputs).astype(np.int32),
        interleave=size,
    )
    if operator.channel_shifts is not None:
        shifts = numbers.integers(0, 14, outputs).astype(np.int32)
        operator = replace(operator, channel_shifts=shifts, shift=int(shifts.max()))
    terms = conv_terms(operator, found.inputs.shape, entry=found.terms.workload.entry)
    return reference.ConvCase(operator, found.inputs, None, terms)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20))
def test_programs_with_random_schedules(core: VtaCore, seed: int) -> None:
    case = interleaved_case(seed)
    operator, terms, workload = case.operator, case.terms, case.terms.workload
    expected = side_by_side(reference.conv(operator, case.inputs), operator.interleave)
    assert DOCUMENTS.workload(to_plain(workload), "here", bounded=True) == workload
    drawn = random_schedule(random.Random(seed), workload, core)
    usual = default_schedule(workload, core)
    assert isinstance(usual, ConvSchedule)
    by_block = replace(usual, epilogue=EpilogueGranularity.BLOCK)
    for schedule in filter(None, (drawn, usual, by_block)):
        program = lower_layer(workload, schedule, core.geometry, terms.requantization)
        dram = program.image(
            case.inputs,
            operator.weight,
            terms.constants,
            channel_shifts=operator.channel_shifts,
        )
        error = first_error(verify(program.lowered.instructions, program.geometry, dram))
        assert error is None, error
        execute(program.lowered.instructions, program.geometry, dram)
        np.testing.assert_array_equal(program.output(dram), expected)
        cycles = measure_layer(workload, schedule, core).cycles
        assert cycles >= lower_bound(workload, core).cycles
        assert cycles >= schedule_bounds(workload, to_rows([schedule]), core)[0]


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_bounds_and_rules_of_the_space(core: VtaCore, seed: int) -> None:
    workload = interleaved_case(seed).terms.workload
    space = TilingSpace(workload, core.geometry)
    numbers = np.random.default_rng(seed)
    points = np.stack(
        [numbers.integers(0, len(p.values), 60) for p in space.parameters], axis=1
    ).astype(np.int64)
    legal = space.legal(points)
    expected = [not violations(workload, space.decode(p), core.geometry) for p in points]
    assert list(legal) == expected
    few = points[legal][:3]
    bounds = walked_bounds(workload, space.rows(few), core)
    for point, one, bound in zip(few, space.canonical(few), bounds, strict=True):
        cycles = measure_layer(workload, space.decode(point), core).cycles
        assert bound <= cycles
        assert cycles == measure_layer(workload, space.decode(one), core).cycles
    assert space.holds(default_schedule(workload, core))


def test_rows_are_stored_whole(core: VtaCore) -> None:
    """Phases side by side take hardly longer than phases that lie one behind another."""
    case = interleaved_case(8)
    workload = replace(
        case.terms.workload,
        batch=1,
        in_height=16,
        in_width=16,
        in_channels=32,
        out_channels=64,
        window=replace(
            case.terms.workload.window,
            kernel=(1, 1),
            strides=(1, 1),
            pads=(0, 0, 0, 0),
            dilations=(1, 1),
        ),
        interleave=2,
        entry=False,
    )
    apart = replace(workload, interleave=1)
    cycles, behind = (
        measure_layer(work, default_schedule(work, core), core).cycles for work in (workload, apart)
    )
    assert cycles < 1.1 * behind


def test_phases_of_a_row_stay_together_and_on_one_core(core: VtaCore) -> None:
    workload = interleaved_case(8).terms.workload
    schedule = default_schedule(workload, core)
    assert isinstance(schedule, ConvSchedule)
    assert schedule.tile_out_blocks % workload.interleave == 0
    found = violations(workload, replace(schedule, tile_out_blocks=1), core.geometry)
    assert "phases of a row" in str(found[0])
    for axis in SliceAxis:
        assert "side by side" in str(slice_violations(workload, 2, axis)[0])
    broken = to_plain(replace(workload, out_channels=workload.out_channels - 1))
    with pytest.raises(InputError, match="multiples of 16"):
        DOCUMENTS.workload(broken, "here", bounded=True)
