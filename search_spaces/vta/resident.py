"""The space of programs for depthwise layers that stay on chip: where to start, and what is near.

Programs are pairs of step lists, as
:mod:`compiler_core.units.vta.schedule.resident_schedule` writes them. Neighbours
need not be legal: what a move breaks, the rules of the lowering find.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.schedule.resident_schedule import (
    ResidentSchedule,
    Step,
    StepKind,
    parse_steps,
    resident_schedule,
)
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.tiles import axis_tile

_TAPS = (StepKind.TAPS, StepKind.TAPS_BY_ROWS)
_LEADING_BLOCKS = 7
_BORDERS = ((3 / 7, 6 / 7), (4 / 7,), ())
"""Where the last block is cut, as shares of its rows: nothing else hides what ends last."""


def first_programs(workload: ConvWorkload) -> tuple[ResidentSchedule, ...]:
    """Regular programs: blocks one after another, in groups, the last one in pieces of rows."""
    found = {}
    for weights, inputs, taps, split, stored, borders in product(
        (1, 2, 3), (1, 2), _TAPS, (False, True), (1, 2), _BORDERS
    ):
        program = _regular(workload, weights, inputs, taps, stored, borders, split=split)
        found[program.digest] = program
    if conv_structure(workload).out_blocks >= _LEADING_BLOCKS:
        for taps, stored, borders in product(_TAPS, (1, 2), _BORDERS):
            program = _leading(workload, taps, stored, borders)
            found[program.digest] = program
    return tuple(found.values())


def _regular(
    w: ConvWorkload,
    weights: int,
    inputs: int,
    taps: StepKind,
    stored: int,
    borders: tuple[float, ...],
    *,
    split: bool,
) -> ResidentSchedule:
    """Weights, inputs and stores in groups of so many blocks; ``split`` loads micro-ops twice."""
    last = conv_structure(w).out_blocks - 1
    loads: list[Step] = []
    steps = [Step(StepKind.BIAS, 0, last + 1)]
    if split:
        steps.append(Step(StepKind.MICRO_OPS))
    for block in range(last + 1):
        if block % weights == 0:
            loads.append(Step(StepKind.WEIGHTS, block, min(weights, last + 1 - block)))
        if block == last:
            loads += _pieces(StepKind.INPUTS, block, w.in_height, borders)
            for piece in _pieces(taps, block, w.out_height, borders):
                steps += [piece, replace(piece, kind=StepKind.REQUANTIZE)]
            continue
        if block % inputs == 0:
            loads.append(Step(StepKind.INPUTS, block, min(inputs, last - block)))
        steps.append(Step(taps, block))
        waiting = block % stored + 1
        if waiting == stored or block == last - 1:
            steps.append(Step(StepKind.REQUANTIZE, block + 1 - waiting, waiting))
    return resident_schedule(loads, steps)


def _leading(
    w: ConvWorkload, taps: StepKind, stored: int, borders: tuple[float, ...]
) -> ResidentSchedule:
    """The third block before the first two, which share their transfer and their instructions.

    So the compute module starts after one block of inputs, and while it is at work, two more come
    in one transfer. Later weights come a block ahead. Annealing found this pattern.
    """
    last = conv_structure(w).out_blocks - 1
    weights, inputs, bias, micro_ops = (
        StepKind.WEIGHTS,
        StepKind.INPUTS,
        StepKind.BIAS,
        Step(StepKind.MICRO_OPS),
    )
    loads = [Step(inputs, 2), Step(weights, 0, 3), Step(inputs, 0, 2), Step(inputs, 3)]
    loads.append(Step(weights, 3, 2))
    for block in range(4, last - 2):
        loads += [Step(weights, block + 1), Step(inputs, block)]
    loads += [Step(inputs, last - 2), Step(inputs, last - 1), Step(weights, last - 1)]
    first, *rest = _pieces(inputs, last, w.in_height, borders)
    loads += [first, Step(weights, last), *rest]
    steps = [Step(bias, 0, last + 1), micro_ops, Step(taps, 2), Step(StepKind.REQUANTIZE, 2)]
    whole = axis_tile(w.window, 0, w.in_height, 0, w.out_height).size == w.in_height
    pair = [Step(StepKind.TAPS, 0, 2)] if whole else [Step(taps, 0), Step(taps, 1)]
    steps += [micro_ops, *pair, Step(StepKind.REQUANTIZE, 0, 2)]
    for block in range(3, last):
        steps.append(Step(taps, block))
        waiting = (block - 3) % stored + 1
        if waiting == stored or block == last - 1:
            steps.append(Step(StepKind.REQUANTIZE, block + 1 - waiting, waiting))
    for piece in _pieces(taps, last, w.out_height, borders):
        steps += [piece, replace(piece, kind=StepKind.REQUANTIZE)]
    return resident_schedule(loads, steps)


def _pieces(kind: StepKind, block: int, rows: int, borders: tuple[float, ...]) -> list[Step]:
    cuts = sorted({0, rows, *(min(rows, max(0, round(share * rows))) for share in borders)})
    if len(cuts) == 2:
        return [Step(kind, block)]
    return [Step(kind, block, 1, (cuts[i], cuts[i + 1])) for i in range(len(cuts) - 1)]


def neighbour(
    program: ResidentSchedule, workload: ConvWorkload, random: Random
) -> ResidentSchedule:
    """A program one to three moves away: steps are moved, cut, joined or done in another way."""
    loads, steps = list(parse_steps(program.loads)), list(parse_steps(program.steps))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        move = random.random()
        if move < 0.08:
            _toggle_micro_ops(steps, random)
        elif move < 0.16:
            _toggle_taps(steps, random)
        elif move < 0.32:
            _displace(loads, 3, random)
        elif move < 0.55:
            _cut_or_join(loads, workload, random)
        elif move < 0.75:
            _displace(steps, 4, random)
        else:
            _cut_or_join(steps, workload, random)
    return resident_schedule(loads, steps)


def _displace(steps: list[Step], far: int, random: Random) -> None:
    step = steps.pop(index := random.randrange(len(steps)))
    target = index + random.choice((-1, 1)) * random.randint(1, far)
    steps.insert(max(0, min(len(steps), target)), step)


def _toggle_micro_ops(steps: list[Step], random: Random) -> None:
    loads = [i for i, step in enumerate(steps) if step.kind is StepKind.MICRO_OPS]
    if loads and random.random() < 0.5:
        steps.pop(random.choice(loads))
    else:
        steps.insert(random.randint(1, len(steps)), Step(StepKind.MICRO_OPS))


def _toggle_taps(steps: list[Step], random: Random) -> None:
    places = [i for i, step in enumerate(steps) if step.kind in _TAPS]
    place = random.choice(places)
    other = _TAPS[1 - _TAPS.index(steps[place].kind)]
    steps[place] = replace(steps[place], kind=other)


def _cut_or_join(steps: list[Step], w: ConvWorkload, random: Random) -> None:
    place = random.randrange(len(steps))
    if steps[place].kind is StepKind.MICRO_OPS:
        return
    if random.random() < 0.5:
        steps[place : place + 1] = _cut(steps[place], w, random)
        return
    for other, step in enumerate(steps):
        joined = _join(steps[place], step, w)
        if joined is not None:
            steps[place] = joined
            steps.pop(other)
            return


def _cut(step: Step, w: ConvWorkload, random: Random) -> list[Step]:
    """A step in two, of blocks or else of rows."""
    if step.blocks > 1:
        first = random.randint(1, step.blocks - 1)
        rest = Step(step.kind, step.block + first, step.blocks - first)
        return [replace(step, blocks=first), rest]
    if step.kind in (StepKind.BIAS, StepKind.WEIGHTS):
        return [step]
    low, high = step.rows or (0, _rows(step.kind, w))
    if high - low < 2:
        return [step]
    border = random.randint(low + 1, high - 1)
    return [replace(step, rows=(low, border)), replace(step, rows=(border, high))]


def _join(step: Step, other: Step, w: ConvWorkload) -> Step | None:
    """Both in one, where ``other`` goes on where ``step`` ends."""
    alike = step.kind is other.kind or (step.kind in _TAPS and other.kind in _TAPS)
    if not alike:
        return None
    if step.rows is None and other.rows is None and other.block == step.block + step.blocks:
        return replace(step, blocks=step.blocks + other.blocks)
    if step.rows and other.rows and step.block == other.block and step.rows[1] == other.rows[0]:
        rows = (step.rows[0], other.rows[1])
        return replace(step, rows=None if rows == (0, _rows(step.kind, w)) else rows)
    return None


def _rows(kind: StepKind, w: ConvWorkload) -> int:
    return w.in_height if kind is StepKind.INPUTS else w.out_height
