"""Sliced operators on several cores: bits, independence and cycles."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from compiler_core.errors import InfeasibleError, InternalError
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms, max_pool_terms
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window, Workload
from compiler_core.units.vta.cores.multicore_layer import (
    SlicedProgram,
    lower_sliced,
    measure_sliced,
)
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.link.multicore_conflicts import (
    dram_ranges,
    find_conflicts,
    require_independent,
)
from compiler_core.units.vta.lower.layer import TYPICAL_REQUANTIZATION, lower_layer, measure_layer
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.placement import ConvPlacement, Image
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import MemoryType, Opcode, decode
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant, Schedule
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.fold import foldable
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations, slice_workload
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule
from tests.compiler_core.units.vta.reference_operators import ConvCase, random_conv

EPILOGUE = Epilogue(17, True, True, True)
Int8 = npt.NDArray[np.int8]


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta-x4").npu


def check_sliced(program: SlicedProgram, dram: npt.NDArray[np.uint8], expected: Int8) -> None:
    """Every program is right, leaves the others alone, and together they give the bits."""
    streams = [lowered.instructions for lowered in program.programs]
    require_independent(streams, program.geometry)
    before = dram.copy()
    for stream in streams:
        error = first_error(verify(stream, program.geometry, dram))
        assert error is None, error
    for stream in streams[::-1]:  # in any order
        execute(stream, program.geometry, dram)
    assert np.array_equal(program.result(dram), expected)
    start = program.output.address
    stop = start + program.output.sample_bytes * program.workload.batch
    dram[start:stop] = before[start:stop]
    assert np.array_equal(dram, before), "bytes outside the output have changed"


def check_conv(case: ConvCase, r: random.Random, core: VtaCore, *, default: bool) -> int:
    """Checks a convolution on a random number of cores along both axes; returns how many could be
    sliced."""
    workload, done = case.terms.workload, 0
    for axis in SliceAxis:
        cores = r.randint(2, 4)
        if slice_violations(workload, cores, axis):
            continue
        slices = slice_workload(workload, cores, axis)
        fold = FoldVariant.NONE
        if foldable(workload):
            fold = r.choice(list(FoldVariant))
        schedules: list[Schedule] = []
        for part in slices:
            assert isinstance(part.workload, ConvWorkload)
            drawn = random_schedule(r, part.workload, core, fold)
            if default or drawn is None:
                schedule = default_schedule(part.workload, core)
                schedules.append(schedule)
            else:
                schedules.append(drawn)
        if len({s.fold for s in schedules if isinstance(s, ConvSchedule)}) > 1:
            continue
        program = lower_sliced(
            workload, slices, schedules, core.geometry, case.terms.requantization
        )
        dram = program.image(
            case.inputs,
            case.operator.weight,
            case.terms.constants,
            case.residual,
            case.operator.residual_shift,
            case.operator.channel_shifts,
        )
        expected = reference.conv(case.operator, case.inputs, case.residual)
        check_sliced(program, dram, expected)
        done += 1
    return done


@pytest.mark.parametrize("block", range(8))
def test_random_convolutions_keep_their_bits(block: int, core: VtaCore) -> None:
    done = 0
    for seed in range(10 * block, 10 * block + 10):
        r = random.Random(seed)
        done += check_conv(random_conv(r), r, core, default=False)
    assert done >= 4


@pytest.mark.slow
def test_many_random_convolutions_keep_their_bits(core: VtaCore) -> None:
    for seed in range(1000, 2000):
        r = random.Random(seed)
        check_conv(random_conv(r), r, core, default=False)


def test_default_schedules_of_random_slices(core: VtaCore) -> None:
    done = 0
    for seed in range(200, 215):
        r = random.Random(seed)
        done += check_conv(random_conv(r), r, core, default=True)
    assert done >= 12


@pytest.mark.parametrize("fold", FoldVariant)
@pytest.mark.parametrize("axis", SliceAxis)
def test_slices_of_a_folded_stem(axis: SliceAxis, fold: FoldVariant, core: VtaCore) -> None:
    case = reference.stem_case(36)
    terms = case.terms
    slices = slice_workload(terms.workload, 3, axis)
    schedules = [ConvSchedule(2, 5, 1, 1, fold=fold) for _ in slices]
    program = lower_sliced(terms.workload, slices, schedules, core.geometry, terms.requantization)
    dram = program.image(case.inputs, case.operator.weight, terms.constants)
    check_sliced(program, dram, reference.conv(case.operator, case.inputs))


def test_planes_beyond_the_largest_stride(core: VtaCore) -> None:
    numbers = np.random.default_rng(0)
    weight = numbers.integers(-9, 9, (20, 20, 1, 1)).astype(np.int8)
    bias = numbers.integers(-9, 9, 20).astype(np.int32)
    operator = IntegerConv(
        "wide", "x", "y", weight, bias, (1, 1), (0,) * 4, (1, 1), 1, 5, -128, 127
    )
    inputs = numbers.integers(-128, 128, (1, 20, 130, 520)).astype(np.int8)
    terms = conv_terms(operator, inputs.shape)
    slices = slice_workload(terms.workload, 3, SliceAxis.ROWS)
    whole_rows = ConvSchedule(1, 520, 2, 2, input_slots=1, output_slots=1)
    schedules = [ConvSchedule(1, 260, 2, 2), ConvSchedule(2, 260, 1, 1), whole_rows]
    program = lower_sliced(terms.workload, slices, schedules, core.geometry, terms.requantization)
    dram = program.image(inputs, operator.weight, terms.constants)
    check_sliced(program, dram, reference.conv(operator, inputs))


@pytest.mark.parametrize("seed", range(30))
def test_random_max_pools_keep_their_bits(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    kernel = r.randint(1, 3), r.randint(2, 4)
    pads = (r.randint(0, kernel[0] - 1), 0, r.randint(0, kernel[0] - 1), r.randint(0, 1))
    shape = (r.choice([1, 2]), r.choice([20, 40, 64]), r.randint(5, 15), r.randint(4, 15))
    strides = (r.randint(1, 3), r.randint(1, 3))
    operator = IntegerMaxPool("pool", "x", "y", kernel, strides, pads, clip_min=0, clip_max=100)
    inputs = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    workload, requantization = max_pool_terms(operator, shape)
    for axis in SliceAxis:
        cores = r.randint(2, 4)
        if slice_violations(workload, cores, axis):
            continue
        slices = slice_workload(workload, cores, axis)
        schedules = [default_schedule(part.workload, core) for part in slices]
        program = lower_sliced(workload, slices, schedules, core.geometry, requantization)
        check_sliced(program, program.image(inputs), reference.max_pool(operator, inputs))


def test_one_slice_is_the_operator_itself(core: VtaCore) -> None:
    workload = layer(64, 14, 64, 3, 1)
    schedule = default_schedule(workload, core)
    result = measure_sliced(workload, [schedule], core, 1, SliceAxis.ROWS)
    assert result.cycles == measure_layer(workload, schedule, core).cycles


# Independence of programs.


def layer(channels: int, size: int, out: int, kernel: int, stride: int) -> ConvWorkload:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    return ConvWorkload(1, channels, size, size, out, window, 1, EPILOGUE)


def test_two_cores_that_store_the_same_bytes_are_found(core: VtaCore) -> None:
    workload = layer(16, 8, 32, 3, 1)
    program = lower_layer(workload, default_schedule(workload, core), core.geometry)
    stream = program.lowered.instructions
    (conflict,) = find_conflicts([stream, stream], core.geometry)
    assert (conflict.writer, conflict.other, conflict.stores) == (0, 1, True)
    assert conflict.first_byte == program.placement.output.address
    with pytest.raises(InternalError, match=r"core 0 stores .* core 1 stores"):
        require_independent([stream, stream], core.geometry)


def test_a_core_that_loads_what_another_stores_is_found(core: VtaCore) -> None:
    workload = layer(16, 8, 16, 3, 1)
    schedule = default_schedule(workload, core)
    program = lower_layer(workload, schedule, core.geometry)
    assert isinstance(schedule, ConvSchedule)
    assert isinstance(program.placement, ConvPlacement)
    elsewhere = Image(program.dram_bytes, program.placement.output.sample_bytes)
    next_layer = replace(program.placement, input=program.placement.output, output=elsewhere)
    other = lower_conv(workload, schedule, TYPICAL_REQUANTIZATION, next_layer, core.geometry)
    streams = [program.lowered.instructions, other.instructions]
    (conflict,) = find_conflicts(streams, core.geometry)
    assert (conflict.writer, conflict.other, conflict.stores) == (0, 1, False)
    (conflict,) = find_conflicts(streams[::-1], core.geometry)
    assert (conflict.writer, conflict.other, conflict.stores) == (1, 0, False)
    independent = replace(program.placement, output=elsewhere)
    other = lower_conv(workload, schedule, TYPICAL_REQUANTIZATION, independent, core.geometry)
    assert find_conflicts([streams[0], other.instructions], core.geometry) == ()


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_those_of_a_byte_by_byte_walk(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    workload = random_conv(r).terms.workload
    schedule = random_schedule(r, workload, core, FoldVariant.NONE)
    assert schedule is not None
    program = lower_layer(workload, schedule, core.geometry)
    stream = program.lowered.instructions
    touched = {opcode: np.zeros(program.dram_bytes, bool) for opcode in (Opcode.STORE, Opcode.LOAD)}
    for row in decode(stream):
        if row["opcode"] in touched:
            name = MemoryType(row["memory_type"]).name.lower()
            size = getattr(core.geometry.element_bytes, name)
            for y in range(row["y_size"]):
                first = int(row["dram_base"] + y * row["x_stride"]) * size
                touched[Opcode(row["opcode"])][first : first + int(row["x_size"]) * size] = True
    for ranges, expected in zip(dram_ranges(stream, core.geometry), touched.values(), strict=True):
        mine = np.zeros(program.dram_bytes, bool)
        for begin, end in ranges.tolist():
            assert not mine[begin:end].any()
            mine[begin:end] = True
        assert np.array_equal(mine, expected)


# Cycles.

RESNET18_X4 = {
    (64, 56, 64, 3, 1): 3.5,
    (128, 28, 128, 3, 1): 3.5,
    (256, 14, 256, 3, 1): 3.5,
}
"""Layers whose port time is below a quarter of their compute time, and the speed-up of four cores.
"""


@pytest.mark.parametrize(("shape", "speed_up"), RESNET18_X4.items())
def test_four_cores_speed_up_layers_that_the_port_can_feed(
    shape: tuple[int, int, int, int, int], speed_up: float, core: VtaCore
) -> None:
    workload = layer(*shape)
    alone = measure_layer(workload, default_schedule(workload, core), core)
    best = min(sliced_cycles(workload, core, 4, axis) for axis in SliceAxis)
    assert alone.cycles >= speed_up * best
    bound = lower_bound(workload, core)
    assert best >= max(bound.compute / 4, bound.reads, bound.writes)


def sliced_cycles(workload: Workload, core: VtaCore, cores: int, axis: SliceAxis) -> int:
    slices = slice_workload(workload, cores, axis)
    schedules = [default_schedule(part.workload, core) for part in slices]
    return measure_sliced(workload, schedules, core, cores, axis).cycles


def test_two_cores_and_a_wider_port() -> None:
    workload = layer(64, 28, 64, 3, 1)
    cycles = [
        sliced_cycles(workload, load_target(name).npu, load_target(name).npu_cores, SliceAxis.ROWS)
        for name in ("vta-x2", "vta-x4", "vta-x4-128", "vta-x4-256")
    ]
    assert cycles == sorted(cycles, reverse=True)


def test_what_does_not_fit_together_is_refused(core: VtaCore) -> None:
    workload = layer(16, 8, 32, 3, 1)
    with pytest.raises(InfeasibleError, match="2 slices, but 1 schedules"):
        measure_sliced(workload, [ConvSchedule(1, 1, 1, 1)], core, 2, SliceAxis.ROWS)
    entry = ConvWorkload(1, 3, 8, 8, 16, Window((3, 3)), 1, EPILOGUE, entry=True)
    mixed = [ConvSchedule(1, 1, 1, 1), ConvSchedule(1, 1, 1, 1, fold=FoldVariant.WINDOW)]
    with pytest.raises(InfeasibleError, match=r"fold their input by none, window"):
        measure_sliced(entry, mixed, core, 2, SliceAxis.ROWS)
