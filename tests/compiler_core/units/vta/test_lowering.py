"""Lowered programs against the plain meaning of the operators, the verifier and the bound."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InfeasibleError
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms, max_pool_terms
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window, Workload
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import LayerProgram, lower_layer, measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import Opcode, decode
from compiler_core.units.vta.schedule.schedule import (
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    MicroOpLoading,
    Schedule,
)
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.random_schedules import random_schedule
from tests.compiler_core.units.vta.reference_operators import random_conv


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def check_conv(case: reference.ConvCase, schedule: Schedule, core: VtaCore) -> None:
    workload = case.terms.workload
    program = lower_layer(workload, schedule, core.geometry, case.terms.requantization)
    dram = program.image(
        case.inputs,
        case.operator.weight,
        case.terms.constants,
        case.residual,
        case.operator.residual_shift,
        case.operator.channel_shifts,
    )
    check_program(program, dram, reference.conv(case.operator, case.inputs, case.residual))
    check_bound(workload, schedule, core)


def check_program(program: LayerProgram, dram: np.ndarray, expected: np.ndarray) -> None:
    error = first_error(verify(program.lowered.instructions, program.geometry, dram))
    assert error is None, error
    before = dram.copy()
    execute(program.lowered.instructions, program.geometry, dram)
    assert np.array_equal(program.output(dram), expected)
    start = program.placement.output.address
    stop = start + program.placement.output.sample_bytes * program.workload.batch
    dram[start:stop] = before[start:stop]
    assert np.array_equal(dram, before), "bytes outside the output have changed"


def check_bound(workload: Workload, schedule: Schedule, core: VtaCore) -> None:
    measured = measure_layer(workload, schedule, core).cycles
    assert measured >= lower_bound(workload, core).cycles


@pytest.mark.parametrize("seed", range(120))
def test_random_convolutions_with_random_schedules(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    case = random_conv(r)
    schedule = random_schedule(r, case.terms.workload, core)
    assert schedule is not None
    check_conv(case, schedule, core)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 3000))
def test_many_random_convolutions(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    case = random_conv(r)
    schedule = random_schedule(r, case.terms.workload, core)
    assert schedule is not None
    check_conv(case, schedule, core)


@pytest.mark.parametrize("seed", range(200, 230))
def test_default_schedules_of_random_convolutions(seed: int, core: VtaCore) -> None:
    case = random_conv(random.Random(seed))
    check_conv(case, default_schedule(case.terms.workload, core), core)


@pytest.mark.parametrize("fold", FoldVariant)
def test_stem_folds_its_taps(fold: FoldVariant, core: VtaCore) -> None:
    check_conv(reference.stem_case(20), ConvSchedule(2, 5, 2, 1, fold=fold), core)


def test_fold_needs_an_input_that_the_cpu_lays_out(core: VtaCore) -> None:
    workload = ConvWorkload(
        1, 3, 8, 8, 16, Window((3, 3)), 1, Epilogue(17, True, True, True), entry=False
    )
    with pytest.raises(InfeasibleError, match="fold"):
        lower_layer(workload, ConvSchedule(1, 1, 1, 1, fold=FoldVariant.COLUMNS), core.geometry)


@pytest.mark.parametrize("seed", range(60))
def test_random_max_pools(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    kernel = r.randint(1, 3), r.randint(2, 4)
    pads = (
        r.randint(0, kernel[0] - 1),
        r.randint(0, kernel[1] - 1),
        r.randint(0, kernel[0] - 1),
        r.randint(0, kernel[1] - 1),
    )
    shape = (r.choice([1, 2]), r.choice([5, 16, 40]), r.randint(4, 15), r.randint(4, 15))
    operator = IntegerMaxPool(
        "pool",
        "x",
        "y",
        kernel,
        (r.randint(1, 3), r.randint(1, 3)),
        pads,
        clip_min=r.choice([-128, 0]),
        clip_max=r.choice([127, 100]),
    )
    inputs = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    workload, requantization = max_pool_terms(operator, shape)
    schedules: list[Schedule] = [default_schedule(workload, core)]
    for _ in range(50):
        schedule = MaxPoolSchedule(
            r.randint(1, workload.out_height),
            r.randint(1, workload.out_width),
            r.randint(1, blocks(shape[1])),
            r.randint(1, 3),
            r.randint(1, 3),
            r.choice(list(MicroOpLoading)),
        )
        if not violations(workload, schedule, core.geometry):
            schedules.append(schedule)
            break
    for schedule in schedules:
        program = lower_layer(workload, schedule, core.geometry, requantization)
        check_program(program, program.image(inputs), reference.max_pool(operator, inputs))
        check_bound(workload, schedule, core)


def resnet_layer(channels: int, size: int, out: int, kernel: int, stride: int) -> ConvWorkload:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    return ConvWorkload(1, channels, size, size, out, window, 1, Epilogue(17, True, True, True))


def test_padding_taps_are_never_computed(core: VtaCore) -> None:
    workload = resnet_layer(32, 14, 32, 3, 1)
    result = measure_layer(workload, default_schedule(workload, core), core)
    points = (
        14 * 3 - 2
    ) ** 2  # valid (output, tap) pairs: three taps each but one at either border
    vectors = 14 * 14 * 2
    assert result.micro_ops.gemm == points * 2 * 2 + vectors  # and one for the bias
    assert result.micro_ops.gemm_reset == vectors
    assert result.micro_ops.alu == 3 * vectors


def test_needless_clip_passes_are_dropped() -> None:
    weight = np.full((16, 1, 2, 2), 1, np.int8)
    pool = IntegerConv(
        "average",
        "x",
        "y",
        weight,
        np.zeros(16, np.int32),
        (2, 2),
        (0,) * 4,
        (1, 1),
        16,
        2,
        -128,
        127,
    )
    epilogue = conv_terms(pool, (1, 16, 8, 8)).workload.epilogue
    assert (epilogue.shift, epilogue.clip_low, epilogue.clip_high) == (True, False, False)
    assert conv_terms(pool, (1, 16, 8, 8)).workload.operator == "average_pool"


def test_tokens_balance_and_are_few(core: VtaCore) -> None:
    workload = resnet_layer(64, 28, 64, 3, 1)
    program = lower_layer(workload, default_schedule(workload, core), core.geometry)
    decoded = decode(program.lowered.instructions)
    loads = (decoded["opcode"] == Opcode.LOAD) & np.isin(decoded["memory_type"], (1, 2))
    stores = decoded["opcode"] == Opcode.STORE
    compute = ~(loads | stores)
    assert decoded["push_next"][loads].sum() == decoded["pop_prev"][compute].sum()
    assert decoded["push_prev"][compute].sum() == decoded["pop_next"][loads].sum()
    assert decoded["push_next"][compute].sum() == decoded["pop_prev"][stores].sum()
    assert decoded["push_prev"][stores].sum() == decoded["pop_next"][compute].sum()
    assert decoded["push_next"][loads].sum() <= loads.sum()


def test_violation_names_demand_bound_and_remedy(core: VtaCore) -> None:
    workload = resnet_layer(64, 56, 64, 3, 1)
    found = violations(workload, ConvSchedule(56, 56, 4, 4), core.geometry)
    (accumulators,) = [v for v in found if v.rule == "acc buffer"]
    assert accumulators.demand == 2 * 56 * 56 * 4
    assert accumulators.bound == 2048
    assert "tile_height" in accumulators.remedy
    with pytest.raises(InfeasibleError, match=r"inp buffer: .* elements demanded, 2048 allowed"):
        lower_layer(workload, ConvSchedule(56, 56, 4, 4), core.geometry)


@given(st.lists(st.integers(-2, 9), min_size=7, max_size=7))
def test_any_numbers_are_judged(numbers: list[int]) -> None:
    geometry = load_target("vta").npu.geometry
    convolution = resnet_layer(64, 8, 64, 3, 1)
    pool = MaxPoolWorkload(1, 64, 8, 8, Window((2, 2), (2, 2)))
    height, width, out, within, *slots = numbers
    conv = ConvSchedule(
        height, width, out, within, input_slots=slots[0], weight_slots=slots[1],
        output_slots=slots[2],
    )  # fmt: skip
    pooled = MaxPoolSchedule(height, width, out, slots[0], slots[1])
    for workload, schedule, given_ in (
        (convolution, conv, numbers),
        (pool, pooled, [height, width, out, *slots[:2]]),
    ):
        found = violations(workload, schedule, geometry)
        below = [value for value in given_ if value < 1]
        assert len([item for item in found if item.is_least]) == len(below)
        assert all("at least 1" in str(item) for item in found if item.is_least)


def test_schedule_of_another_kind_is_refused(core: VtaCore) -> None:
    with pytest.raises(TypeError, match="MaxPoolSchedule does not schedule a ConvWorkload"):
        lower_layer(resnet_layer(16, 8, 16, 1, 1), MaxPoolSchedule(1, 1, 1), core.geometry)


DEPTHWISE = {
    (8, 112, 1): 1.5,
    (16, 112, 2): 1.5,
    (32, 56, 1): 1.5,
    (32, 56, 2): 1.5,
    (64, 28, 1): 1.5,
    (64, 28, 2): 1.5,
    (128, 14, 1): 1.5,
    (128, 14, 2): 1.7,  # in tiles; a program of its own takes less (test_lower_resident.py)
    (256, 7, 1): 1.5,
}
"""Channels, size and stride of MobileNet's depthwise layers at width 0.25, and cycles over bound.
"""


@pytest.mark.parametrize(("layer", "limit"), DEPTHWISE.items())
def test_depthwise_layers_come_near_their_bound(
    layer: tuple[int, int, int], limit: float, core: VtaCore
) -> None:
    channels, size, stride = layer
    pads = (1, 1, 1, 1) if stride == 1 else (0, 0, 1, 1)
    window = Window((3, 3), (stride, stride), pads)
    epilogue = Epilogue(17, True, True, True)
    workload = ConvWorkload(1, channels, size, size, channels, window, channels, epilogue)
    measured = measure_layer(workload, default_schedule(workload, core), core).cycles
    assert measured <= limit * lower_bound(workload, core).cycles


RESNET18 = [
    (resnet_layer(64, 56, 64, 3, 1), 4),
    (resnet_layer(64, 56, 128, 3, 2), 1),
    (resnet_layer(64, 56, 128, 1, 2), 1),
    (resnet_layer(128, 28, 128, 3, 1), 3),
    (resnet_layer(128, 28, 256, 3, 2), 1),
    (resnet_layer(128, 28, 256, 1, 2), 1),
    (resnet_layer(256, 14, 256, 3, 1), 3),
    (resnet_layer(256, 14, 512, 3, 2), 1),
    (resnet_layer(256, 14, 512, 1, 2), 1),
    (resnet_layer(512, 7, 512, 3, 1), 3),
]


def test_untuned_resnet18_cycles(core: VtaCore) -> None:
    """Golden: the sum over all convolutions but the stem, default schedules, nothing measured."""
    total = sum(
        count * measure_layer(workload, default_schedule(workload, core), core).cycles
        for workload, count in RESNET18
    )
    bound = sum(count * lower_bound(workload, core).cycles for workload, count in RESNET18)
    assert bound == 6_423_232
    assert total == 6_797_150


@pytest.mark.parametrize(("channels", "size"), [(48, 16), (64, 16), (96, 16), (160, 8), (64, 4)])
def test_untuned_global_pools_have_several_accumulators(
    core: VtaCore, channels: int, size: int
) -> None:
    """One accumulator alone takes an instruction for each tap."""
    window = Window((size, size))
    epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True)
    work = ConvWorkload(1, channels, size, size, channels, window, channels, epilogue, uniform=True)
    cycles = measure_layer(work, default_schedule(work, core), core).cycles
    assert cycles < lower_bound(work, core).cycles * 1.3 + 800
