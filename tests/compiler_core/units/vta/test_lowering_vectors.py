"""Programs of cores with longer output vectors and weights of 4 bits, against the plain meaning of
the operators, the verifier and the bound."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from compiler_core.errors import InternalError
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms, max_pool_terms
from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import LayerProgram, lower_layer, measure_layer
from compiler_core.units.vta.lower.pack_vectors import packed_weights
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import FoldVariant, MaxPoolSchedule, Schedule
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.vectors import in_vectors
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule
from tests.compiler_core.units.vta.reference_functional import Shape, nibbles
from tests.compiler_core.units.vta.reference_operators import random_conv, random_stem
from tests.compiler_core.units.vta.vectors4 import geometry_of

SHAPES = [Shape(32, 4), Shape(32, 4), Shape(16, 4), Shape(32, 8), Shape(64, 4)]


def core_of(shape: Shape) -> VtaCore:
    core, geometry = load_target("vta").npu, geometry_of(shape)
    timing = replace(core.timing, element_bytes=geometry.element_bytes)
    return replace(core, geometry=geometry, timing=timing)


def random_case(r: random.Random, bits: int) -> reference.ConvCase:
    """A random convolution whose weights have so many bits, the lowest among them."""
    return in_bits(random_conv(r), bits)


def in_bits(case: reference.ConvCase, bits: int) -> reference.ConvCase:
    operator = replace(case.operator, weight=case.operator.weight >> (8 - bits))
    entry = case.terms.workload.entry
    terms = conv_terms(operator, case.inputs.shape, entry=entry)
    return replace(case, operator=operator, terms=terms)


def vectors_of(case: reference.ConvCase, core: VtaCore) -> ConvWorkload:
    operator = case.operator
    shift = None if operator.residual is None else operator.residual_shift
    found = in_vectors(case.terms.workload, core.geometry, shift)
    assert isinstance(found, ConvWorkload)
    return found


def check_conv(case: reference.ConvCase, schedule: Schedule, core: VtaCore) -> None:
    workload, operator = vectors_of(case, core), case.operator
    program = lower_layer(workload, schedule, core.geometry, case.terms.requantization)
    dram = program.image(
        case.inputs,
        operator.weight,
        case.terms.constants,
        case.residual,
        operator.residual_shift,
        operator.channel_shifts,
    )
    check_program(program, dram, reference.conv(operator, case.inputs, case.residual))
    check_bound(workload, schedule, core)


def check_program(program: LayerProgram, dram: np.ndarray, expected: np.ndarray) -> None:
    error = first_error(verify(program.lowered.instructions, program.geometry, dram))
    assert error is None, error
    before = dram.copy()
    execute(program.lowered.instructions, program.geometry, dram)
    found = program.output(dram)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    start = program.placement.output.address
    stop = start + program.placement.output.sample_bytes * program.workload.batch
    dram[start:stop] = before[start:stop]
    assert np.array_equal(dram, before), "bytes outside the output have changed"


def check_bound(workload: Workload, schedule: Schedule, core: VtaCore) -> None:
    measured = measure_layer(workload, schedule, core).cycles
    assert measured >= lower_bound(workload, core).cycles


@pytest.mark.parametrize("seed", range(80))
def test_random_convolutions_with_random_schedules(seed: int) -> None:
    r = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    core, case = core_of(shape), random_case(r, shape.weight_bits)
    schedule = random_schedule(r, vectors_of(case, core), core)
    assert schedule is not None
    check_conv(case, schedule, core)


@pytest.mark.parametrize("fold", list(FoldVariant))
@pytest.mark.parametrize("seed", range(12))
def test_taps_of_few_channels_fold_on_every_core(seed: int, fold: FoldVariant) -> None:
    r = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    core, case = core_of(shape), in_bits(random_stem(r), shape.weight_bits)
    workload = vectors_of(case, core)
    schedule = random_schedule(r, workload, core, fold)
    assert schedule is not None
    assert schedule.fold is fold
    check_conv(case, schedule, core)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 2000))
def test_many_random_convolutions(seed: int) -> None:
    test_random_convolutions_with_random_schedules(seed)


@pytest.mark.parametrize("seed", range(200, 220))
def test_default_schedules_of_random_convolutions(seed: int) -> None:
    shape = SHAPES[seed % len(SHAPES)]
    core, case = core_of(shape), random_case(random.Random(seed), shape.weight_bits)
    check_conv(case, default_schedule(vectors_of(case, core), core), core)


@pytest.mark.parametrize("seed", range(30))
def test_random_max_pools(seed: int) -> None:
    r = random.Random(seed)
    core = core_of(SHAPES[seed % len(SHAPES)])
    kernel = r.randint(1, 3), r.randint(2, 4)
    pads = tuple(r.randint(0, kernel[axis % 2] - 1) for axis in range(4))
    shape = (r.choice([1, 2]), r.choice([5, 16, 40, 64]), r.randint(4, 15), r.randint(4, 15))
    operator = IntegerMaxPool(
        "pool",
        "x",
        "y",
        kernel,
        (r.randint(1, 3), r.randint(1, 3)),
        (pads[0], pads[1], pads[2], pads[3]),
        clip_min=r.choice([-128, 0]),
        clip_max=r.choice([127, 100]),
    )
    inputs = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    plain, requantization = max_pool_terms(operator, shape)
    workload = in_vectors(plain, core.geometry)
    assert isinstance(workload, MaxPoolWorkload)
    schedules: list[Schedule] = [default_schedule(workload, core)]
    for _ in range(20):
        schedule = MaxPoolSchedule(
            r.randint(1, workload.out_height),
            r.randint(1, workload.out_width),
            r.randint(1, workload.channels // 16),
            r.randint(1, 3),
            r.randint(1, 2),
        )
        if not violations(workload, schedule, core.geometry):
            schedules.append(schedule)
            break
    for schedule in schedules:
        program = lower_layer(workload, schedule, core.geometry, requantization)
        dram = program.image(inputs)
        check_program(program, dram, reference.max_pool(operator, inputs))
        check_bound(workload, schedule, core)


def test_the_usual_core_sees_channels() -> None:
    workload = random_conv(random.Random(3)).terms.workload
    assert in_vectors(workload, load_target("vta").npu.geometry, 3) is workload


def test_nibbles_are_packed_low_column_first() -> None:
    tiles = np.arange(-256, 256).reshape(1, 32, 16) % 16 - 8
    packed = packed_weights(tiles.astype(np.int8), geometry_of(Shape(32, 4)))
    assert packed.shape == (1, 256)
    assert nibbles(packed.tobytes()) == tiles.reshape(-1).tolist()


@pytest.mark.parametrize("value", [8, -9, 127])
def test_weights_of_more_bits_are_refused(value: int) -> None:
    tiles = np.full((1, 32, 16), value, np.int8)
    with pytest.raises(InternalError, match="4 bits hold -8 to 7"):
        packed_weights(tiles, geometry_of(Shape(32, 4)))


def pair_core(lanes: int = 32) -> VtaCore:
    """The usual core among others of longer vectors: it reads and writes as they do."""
    core = load_target("vta").npu
    return replace(core, geometry=replace(core.geometry, activation_lanes=lanes))


def check_apart(case: reference.ConvCase, schedule: Schedule, core: VtaCore) -> None:
    program = lower_layer(case.terms.workload, schedule, core.geometry, case.terms.requantization)
    assert program.placement.output.pitch == core.geometry.lanes // 16
    dram = program.image(
        case.inputs,
        case.operator.weight,
        case.terms.constants,
        case.residual,
        case.operator.residual_shift,
        case.operator.channel_shifts,
    )
    check_program(program, dram, reference.conv(case.operator, case.inputs, case.residual))
    check_bound(case.terms.workload, schedule, core)


@pytest.mark.parametrize("seed", range(60))
def test_the_usual_core_reads_and_writes_vectors_of_others(seed: int) -> None:
    r = random.Random(seed)
    case, core = random_conv(r), pair_core(r.choice([32, 32, 64]))
    schedule = random_schedule(r, case.terms.workload, core)
    assert schedule is not None
    check_apart(case, r.choice([schedule, default_schedule(case.terms.workload, core)]), core)


@pytest.mark.parametrize("seed", range(20))
def test_pools_of_the_usual_core_among_others(seed: int) -> None:
    r, core = random.Random(seed), pair_core()
    shape = (r.choice([1, 2]), r.choice([5, 16, 40, 64]), r.randint(4, 15), r.randint(4, 15))
    operator = IntegerMaxPool("pool", "x", "y", (2, 3), (r.randint(1, 2), 2), (0, 1, 1, 1))
    inputs = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    workload, requantization = max_pool_terms(operator, shape)
    rows, columns = r.randint(1, workload.out_height), r.randint(1, workload.out_width)
    for schedule in (default_schedule(workload, core), MaxPoolSchedule(rows, columns, 1, 1, 1)):
        program = lower_layer(workload, schedule, core.geometry, requantization)
        check_program(program, program.image(inputs), reference.max_pool(operator, inputs))


@pytest.mark.parametrize("channels", [16, 48])
def test_resident_layers_of_the_usual_core_among_others(channels: int) -> None:
    numbers, core = np.random.default_rng(channels), pair_core()
    weight = numbers.integers(-50, 50, (channels, 1, 3, 3)).astype(np.int8)
    bias = numbers.integers(-500, 500, channels).astype(np.int32)
    operator = IntegerConv(
        "d", "x", "y", weight, bias, (1, 1), (1, 1, 1, 1), (1, 1), channels, 6, -128, 127
    )
    inputs = numbers.integers(-128, 128, (1, channels, 6, 5)).astype(np.int8)
    terms = conv_terms(operator, inputs.shape)
    case = reference.ConvCase(operator, inputs, None, terms)
    count = channels // 16
    loads = " ".join([f"W0-{count - 1}" if count > 1 else "W0"])
    steps = []
    for block in range(count):
        loads += f" I{block}[0:4] I{block}[4:6]"
        steps += [f"B{block}", f"T{block}", f"Q{block}[0:3]", f"Q{block}[3:6]"]
    schedule = ResidentSchedule(loads, " ".join(steps))
    check_apart(case, schedule, core)
