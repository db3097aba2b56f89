"""Programs of depthwise layers that stay on chip: bits, rules of the machine, and cycles."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InfeasibleError
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.legality.legality_resident import residency_violations
from compiler_core.units.vta.lower.layer import lower_layer, measure_layer
from compiler_core.units.vta.lower.lower_resident import clearing
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import MemoryType, Opcode, decode
from compiler_core.units.vta.schedule.resident_schedule import (
    ResidentSchedule,
    Step,
    StepKind,
    resident_schedule,
)
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.tiles import axis_tile
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta import reference_operators as reference
from tests.compiler_core.units.vta.reference_operators import random_conv

STRIDED = ConvWorkload(
    1,
    128,
    14,
    14,
    128,
    Window((3, 3), (2, 2), (0, 0, 1, 1)),
    128,
    Epilogue(17, True, True, True),
)
"""The depthwise layer of MobileNet 0.25 that turns 14x14 into 7x7."""

ANNEALED = ResidentSchedule(
    "I2 W0-2 I0-1 I3-4 W3 W4-5 I5 I6 W6 I7[0:7] W7 I7[7:14]",
    "B0-7 U M2 Q2 U M0-1 Q0-1 M3 Q3 M4 M5[0:6] M5[6:7] Q4-5 M6 Q6 M7[0:3] M7[3:6] Q7[0:5] "
    "M7[6:7] Q7[5:7]",
)
"""A program for it that simulated annealing found."""


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta").npu


def parts(r: random.Random, extent: int) -> list[tuple[int, int]]:
    """A random cut of a range."""
    cuts = sorted({0, extent, *(r.randint(0, extent) for _ in range(r.randint(0, 2)))})
    return list(pairwise(cuts))


def pieces(r: random.Random, kind: StepKind, blocks: int, rows: int, *, join: bool) -> list[Step]:
    """Steps of one kind that together name every row of every block once, in random order."""
    found, block = [], 0
    while block < blocks:
        count = r.randint(1, min(3, blocks - block)) if join else 1
        if count > 1:
            found.append(Step(kind, block, count))
        else:
            cut = parts(r, rows) if rows else [(0, 0)]
            found += [Step(kind, block, 1, None if len(cut) == 1 else part) for part in cut]
        block += count
    r.shuffle(found)
    return found


def random_program(r: random.Random, w: ConvWorkload) -> ResidentSchedule:
    """Any program that computes a workload."""
    blocks = conv_structure(w).out_blocks
    whole = axis_tile(w.window, 0, w.in_height, 0, w.out_height).size == w.in_height
    loads = pieces(r, StepKind.WEIGHTS, blocks, 0, join=True)
    loads += pieces(r, StepKind.INPUTS, blocks, w.in_height, join=True)
    r.shuffle(loads)
    biases = pieces(r, StepKind.BIAS, blocks, 0, join=True)
    taps = [
        replace(step, kind=r.choice([StepKind.TAPS, StepKind.TAPS_BY_ROWS]))
        for step in pieces(r, StepKind.TAPS, blocks, w.out_height, join=whole)
    ]
    stores = pieces(r, StepKind.REQUANTIZE, blocks, w.out_height, join=True)
    steps: list[Step] = []
    biased: set[int] = set()
    summed: set[tuple[int, int]] = set()

    def outputs(step: Step) -> set[tuple[int, int]]:
        rows = range(*(step.rows or (0, w.out_height)))
        return {(b, row) for b in range(step.block, step.block + step.blocks) for row in rows}

    while biases or taps or stores:
        ready = [s for s in taps if set(range(s.block, s.block + s.blocks)) <= biased]
        done = [s for s in stores if outputs(s) <= summed]
        step = r.choice([*biases[:1], *ready[:2], *done[:2]])
        for waiting in (biases, taps, stores):
            if step in waiting:
                waiting.remove(step)
        if step.kind is StepKind.BIAS:
            biased.update(range(step.block, step.block + step.blocks))
        elif step.kind is not StepKind.REQUANTIZE:
            summed |= outputs(step)
        if r.random() < 0.15:
            steps.append(Step(StepKind.MICRO_OPS))
        steps.append(step)
    return resident_schedule(loads, steps)


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_random_programs_give_the_bits_of_the_operator(seed: int) -> None:
    core, r = load_target("vta").npu, random.Random(seed)
    while True:
        case = random_conv(r)
        workload = case.terms.workload
        if not residency_violations(workload, core.geometry):
            break
    schedule = random_program(r, workload)
    assert violations(workload, schedule, core.geometry) == ()
    program = lower_layer(workload, schedule, core.geometry, case.terms.requantization)
    dram = program.image(
        case.inputs,
        case.operator.weight,
        case.terms.constants,
        channel_shifts=case.operator.channel_shifts,
    )
    assert first_error(verify(program.lowered.instructions, core.geometry, dram)) is None
    before = dram.copy()
    execute(program.lowered.instructions, core.geometry, dram)
    expected = reference.conv(case.operator, case.inputs)
    np.testing.assert_array_equal(program.output(dram), expected)
    start = program.placement.output.address
    stop = start + program.placement.output.sample_bytes
    dram[start:stop] = before[start:stop]
    np.testing.assert_array_equal(dram, before)
    measured = measure_layer(workload, schedule, core).cycles
    assert measured >= lower_bound(workload, core).cycles


def test_the_strided_layer_of_mobilenet_runs_within_half_over_its_bound(core: VtaCore) -> None:
    bound = lower_bound(STRIDED, core).cycles
    assert bound == 4376
    assert measure_layer(STRIDED, ANNEALED, core).cycles <= 1.5 * bound


@pytest.mark.parametrize(
    ("biases", "outputs", "depth"),
    [(8, 392, 2048), (1, 9, 2048), (16, 784, 2048), (8, 1568, 2048), (4, 30, 40), (1, 1, 4)],
)
def test_clearing_covers_what_follows_the_biases(biases: int, outputs: int, depth: int) -> None:
    padding, cleared, elements = clearing(biases, outputs, depth)
    width = padding.before + biases + padding.after
    assert elements == width * (padding.rows_after + 1) <= depth
    assert max(padding) <= 15
    written = np.zeros(depth + 1, bool)
    written[:elements] = True
    written[padding.before : padding.before + biases] = False
    first = padding.before + biases
    assert written[first : first + cleared].all()
    assert cleared == min(outputs, elements - first)
    reachable = 16 * (30 + biases) - 15 - biases
    if outputs <= reachable and depth >= biases + outputs + 46 + biases:
        assert cleared == outputs


def test_what_no_padding_reaches_is_cleared_by_an_instruction(core: VtaCore) -> None:
    window = Window((3, 3), (1, 1), (1, 1, 1, 1))
    large = replace(STRIDED, in_channels=64, out_channels=64, groups=64, window=window)
    loads, steps = "W0-3 I0-3", "B0-3 T0-3 Q0-3"
    program = lower_layer(large, ResidentSchedule(loads, steps), core.geometry)
    words = decode(program.lowered.instructions)
    assert (words["reset"][words["opcode"] == Opcode.GEMM] == 1).sum() == 1


def test_micro_ops_are_loaded_where_the_steps_say(core: VtaCore) -> None:
    loads, steps = "W0-7 I0-7", ["B0-7", "M0-3", "Q0-3", "M4-7", "Q4-7"]

    def transfers(text: str) -> list[int]:
        lowered = lower_layer(STRIDED, ResidentSchedule(loads, text), core.geometry).lowered
        words = decode(lowered.instructions)
        micro_ops = (words["opcode"] == Opcode.LOAD) & (words["memory_type"] == MemoryType.UOP)
        return words["x_size"][micro_ops].tolist()

    (whole,) = transfers(" ".join(steps))
    first, second, third = transfers(" ".join([steps[0], "U", *steps[1:3], "U", "U", *steps[3:]]))
    assert first < second
    assert first + second + third == whole
    assert transfers("U " + " ".join(steps)) == [whole]


@pytest.mark.parametrize(
    ("loads", "steps", "reason"),
    [
        ("W0-7 I0-6", "B0-7 T0-7 Q0-7", "input row 0 of block 7: 0 loads"),
        ("W0-7 W2 I0-7", "B0-7 T0-7 Q0-7", "weights of block 2: 2 loads"),
        ("W0-7 I0-7", "T0-7 B0-7 Q0-7", "step T0-7: 0 biases before it"),
        ("W0-7 I0-7", "B0-7 Q0-7 T0-7", "step Q0-7: 0 taps before it"),
        ("W0-7 I0-7", "B0-7 T0-7 Q0-6", "store of row 0 of block 7: 0 steps"),
        ("W0-7 I0-7", "B0-7 T0-7 M1[0:2] Q0-7", "taps of row 0 of block 1: 2 steps"),
        ("W0-7 I0-7", "B0-7 B3 T0-7 Q0-7", "bias of block 3: 2 steps"),
        ("W0-8 I0-7", "B0-7 T0-7 Q0-7", "step W0-8: 9 blocks demanded, 8 allowed"),
        ("W0-7 I0-7 I7[0:15]", "B0-7 T0-7 Q0-7", "step I7\\[0:15\\]: 15 rows demanded, 14"),
        ("W0-7 I0-7", "B0-7 W1 T0-7 Q0-7", "step W1: 1 times demanded"),
        ("W0-7 I0-7 U", "B0-7 T0-7 Q0-7", "step U: 1 times demanded"),
    ],
)
def test_programs_that_do_not_compute_the_layer_are_refused(
    loads: str, steps: str, reason: str, core: VtaCore
) -> None:
    with pytest.raises(InfeasibleError, match=reason):
        lower_layer(STRIDED, ResidentSchedule(loads, steps), core.geometry)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"batch": 2}, "batch"),
        ({"groups": 1}, "resident"),
        ({"in_height": 28, "in_width": 28}, "inp buffer"),
        ({"epilogue": Epilogue(17, True, True, True, 3)}, "residual"),
        ({"epilogue": Epilogue(0, True, True, True)}, "bias"),
        ({"window": Window((1, 1), (2, 2))}, "columns read"),
        ({"window": Window((3, 3), (1, 1), (2, 2, 2, 2))}, "acc buffer"),
    ],
)
def test_workloads_that_do_not_stay_on_chip_are_refused(
    change: dict[str, object], rule: str, core: VtaCore
) -> None:
    found = residency_violations(replace(STRIDED, **change), core.geometry)
    assert rule in [violation.rule for violation in found]


def test_rows_that_nobody_reads_keep_blocks_apart(core: VtaCore) -> None:
    workload = replace(STRIDED, window=Window((2, 3), (2, 2), (0, 0, 0, 1)), in_height=15)
    joint = ResidentSchedule("W0-7 I0-7", "B0-7 T0-7 Q0-7")
    with pytest.raises(InfeasibleError, match="rows that no output reads"):
        lower_layer(workload, joint, core.geometry)
    single = " ".join(f"T{block}" for block in range(8))
    lower_layer(workload, ResidentSchedule("W0-7 I0-7", f"B0-7 {single} Q0-7"), core.geometry)
