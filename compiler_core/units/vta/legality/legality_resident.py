"""Which workloads stay on chip as a whole, and which programs compute them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.violation import Violation
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.resident_schedule import (
    LOADS,
    ResidentSchedule,
    Step,
    StepKind,
    parse_steps,
)
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.tiles import AxisTile, axis_tile

_TAPS = (StepKind.TAPS, StepKind.TAPS_BY_ROWS)


def residency_violations(workload: ConvWorkload, geometry: VtaGeometry) -> tuple[Violation, ...]:
    """Why a workload cannot stay on chip; empty where it can."""
    return tuple(_residency(workload, geometry))


def _residency(w: ConvWorkload, g: VtaGeometry) -> Iterator[Violation]:
    structure, epilogue = conv_structure(w), w.epilogue
    tiles = "schedule it in tiles"
    if not structure.diagonal or w.uniform or w.operand:
        yield Violation("resident", structure.reduction, 1, "input blocks", tiles)
        return
    for rule, demand, bound, unit in (
        ("batch", w.batch, 1, "samples"),
        ("residual", int(epilogue.residual_bits is not None), 0, "residuals"),
        ("phases side by side", w.interleave, 1, "phases"),
        ("columns read", w.in_width, _columns(w).size, "columns"),
        ("inp buffer", structure.in_blocks * w.in_height * w.in_width, g.depth.inp, "elements"),
        ("wgt buffer", structure.out_blocks * structure.taps, g.depth.wgt, "elements"),
        ("acc buffer", _accumulators(w), g.depth.acc, "elements"),
    ):
        if demand > bound:
            yield Violation(rule, demand, bound, unit, tiles)
    if not epilogue.bias_bits:
        yield Violation("bias", 0, 1, "biases", tiles)


def _columns(w: ConvWorkload) -> AxisTile:
    return axis_tile(w.window, 1, w.in_width, 0, w.out_width)


def _accumulators(w: ConvWorkload) -> int:
    """Biases, outputs and shifts, and room for the padding that clears them."""
    blocks = conv_structure(w).out_blocks
    return blocks * (2 + w.epilogue.channel_shift + w.out_height * w.out_width) + 15


def program_violations(workload: ConvWorkload, schedule: ResidentSchedule) -> tuple[Violation, ...]:
    """What is missing, repeated or out of order in a program for a workload that stays on chip."""
    loads, steps = parse_steps(schedule.loads), parse_steps(schedule.steps)
    wrong = list(_out_of_place(workload, loads, steps))
    return tuple(wrong or [*_loads(workload, loads), *_steps(workload, steps)])


def _out_of_place(
    w: ConvWorkload, loads: tuple[Step, ...], steps: tuple[Step, ...]
) -> Iterator[Violation]:
    blocks = conv_structure(w).out_blocks
    whole = axis_tile(w.window, 0, w.in_height, 0, w.out_height).size == w.in_height
    for text, expected in ((loads, True), (steps, False)):
        for step in text:
            if (step.kind in LOADS) is not expected:
                remedy = "W and I are loads, the others are steps"
                yield Violation(f"step {step}", 1, 0, "times", remedy)
            if step.block + step.blocks > blocks:
                end = step.block + step.blocks
                yield Violation(f"step {step}", end, blocks, "blocks", "name blocks that there are")
            height = w.in_height if step.kind is StepKind.INPUTS else w.out_height
            if step.rows is not None and step.rows[1] > height:
                yield Violation(f"step {step}", step.rows[1], height, "rows", "name fewer rows")
            if step.kind in _TAPS and step.blocks > 1 and not whole:
                remedy = "rows that no output reads part the blocks; name one block"
                yield Violation(f"step {step}", step.blocks, 1, "blocks", remedy)


def _loads(w: ConvWorkload, loads: tuple[Step, ...]) -> Iterator[Violation]:
    blocks = range(conv_structure(w).out_blocks)
    weights: Counter[int] = Counter()
    rows: Counter[tuple[int, int]] = Counter()
    for step in loads:
        named = range(step.block, step.block + step.blocks)
        if step.kind is StepKind.WEIGHTS:
            weights.update(named)
        else:
            extent = step.rows or (0, w.in_height)
            rows.update((block, row) for block in named for row in range(*extent))
    for block in blocks:
        if weights[block] != 1:
            yield Violation(f"weights of block {block}", weights[block], 1, "loads", "load it once")
        for row in range(w.in_height):
            if rows[block, row] != 1:
                where = f"input row {row} of block {block}"
                yield Violation(where, rows[block, row], 1, "loads", "load it once")


def _steps(w: ConvWorkload, steps: tuple[Step, ...]) -> Iterator[Violation]:
    blocks = range(conv_structure(w).out_blocks)
    biases: Counter[int] = Counter()
    taps: Counter[tuple[int, int]] = Counter()
    stored: Counter[tuple[int, int]] = Counter()
    for step in steps:
        named = range(step.block, step.block + step.blocks)
        outputs = [(b, row) for b in named for row in range(*(step.rows or (0, w.out_height)))]
        if step.kind is StepKind.BIAS:
            biases.update(named)
        elif step.kind in _TAPS:
            taps.update(outputs)
            if not all(biases[block] for block in named):
                yield Violation(f"step {step}", 0, 1, "biases before it", "move B before it")
        elif step.kind is StepKind.REQUANTIZE:
            stored.update(outputs)
            if not all(taps[output] for output in outputs):
                yield Violation(f"step {step}", 0, 1, "taps before it", "move T or M before it")
    for block in blocks:
        if biases[block] != 1:
            yield Violation(f"bias of block {block}", biases[block], 1, "steps", "add it once")
        for row in range(w.out_height):
            for what, counted in (("taps", taps), ("store", stored)):
                if counted[block, row] != 1:
                    where = f"{what} of row {row} of block {block}"
                    yield Violation(where, counted[block, row], 1, "steps", "name it once")
