"""Which schedules fit: predicates with reasons, shared by the lowering and the search space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Window, Workload
from compiler_core.units.violation import Violation
from compiler_core.units.vta.legality.legality_resident import (
    program_violations,
    residency_violations,
)
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    Schedule,
)
from compiler_core.units.vta.structure.conv_structure import (
    bias_tiles,
    blocks,
    conv_structure,
    residual_needs_pass,
)
from compiler_core.units.vta.structure.fold import foldable, unfold
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts, tile_of

MAX_TILES = 16384
"""Most tile steps of a program: beyond, instruction fetch alone exceeds any sensible schedule."""

_MICRO_OPS_OF_A_STEP = 512
_OUTPUTS_OF_A_STEP = 4
"""What a step of a larger operator has to do at least, on average."""


def most_tiles(workload: Workload) -> int:
    """Most tile steps of a workload's programs: :data:`MAX_TILES`, more where it is so large that
    sensible steps are as many."""
    points = workload.batch * workload.out_height * workload.out_width
    if isinstance(workload, MaxPoolWorkload):
        return max(MAX_TILES, points * blocks(workload.channels) // _OUTPUTS_OF_A_STEP)
    structure = conv_structure(workload)
    pairs = sum(high - low for low, high in structure.ranges)
    return max(MAX_TILES, points * pairs * structure.taps // _MICRO_OPS_OF_A_STEP)


def violations(
    workload: Workload, schedule: Schedule, geometry: VtaGeometry
) -> tuple[Violation, ...]:
    """Every rule that a schedule breaks; empty where it can be lowered.

    Raises:
        TypeError: The schedule is for another kind of workload.
    """
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule):
        return tuple(_below_one(schedule)) or tuple(_conv(workload, schedule, geometry))
    if isinstance(workload, MaxPoolWorkload) and isinstance(schedule, MaxPoolSchedule):
        return tuple(_below_one(schedule)) or tuple(_max_pool(workload, schedule, geometry))
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ResidentSchedule):
        found = residency_violations(workload, geometry)
        return found or program_violations(workload, schedule)
    raise TypeError(f"{type(schedule).__name__} does not schedule a {type(workload).__name__}")


def require_legal(workload: Workload, schedule: Schedule, geometry: VtaGeometry) -> None:
    """Refuses a schedule that breaks a rule.

    Raises:
        InfeasibleError: With the first rule broken.
    """
    found = violations(workload, schedule, geometry)
    if found:
        raise InfeasibleError(f"schedule for {workload.operator}: {found[0]}")


def input_extents(
    window: Window, size: tuple[int, int], height: Any, width: Any
) -> tuple[Any, Any]:
    """Rows and columns of input that output tiles need at most; padding is never loaded.

    ``height`` and ``width`` of the tiles, and so the results, are integers or integer arrays.
    """
    spread = [d * (k - 1) + 1 for d, k in zip(window.dilations, window.kernel, strict=True)]
    rows = np.minimum(size[0], (height - 1) * window.strides[0] + spread[0])
    columns = np.minimum(size[1], (width - 1) * window.strides[1] + spread[1])
    return rows, columns


def _below_one(schedule: ConvSchedule | MaxPoolSchedule) -> Iterator[Violation]:
    """Sizes and slots below 1, by which nothing further can be computed."""
    for field in fields(schedule):
        value = getattr(schedule, field.name)
        if isinstance(value, int) and not isinstance(value, bool | Enum) and value < 1:
            yield Violation(field.name, value, 1, "of it", "choose a larger one", is_least=True)


def _at_most(rule: str, demand: int, bound: int, unit: str, remedy: str) -> Iterator[Violation]:
    if not 1 <= demand <= bound:
        yield Violation(rule, demand, bound, unit, remedy)


def _conv(w: ConvWorkload, s: ConvSchedule, g: VtaGeometry) -> Iterator[Violation]:
    if s.fold is not FoldVariant.NONE:
        if foldable(w):
            yield from _conv(*unfold(w, s), g)
        else:
            remedy = "only a few-channel convolution whose input the CPU lays out can fold taps"
            yield Violation("fold", 1, 0, "folds", remedy)
        return
    structure = conv_structure(w)
    yield from _at_most("tile_height", s.tile_height, w.out_height, "rows", "lower tile_height")
    yield from _at_most("tile_width", s.tile_width, w.out_width, "columns", "lower tile_width")
    yield from _at_most(
        "tile_out_blocks", s.tile_out_blocks, structure.run, "blocks", "a tile stays within a group"
    )
    if s.tile_out_blocks % w.interleave or s.tile_out_blocks > structure.run:
        remedy = "choose a multiple of it: phases of a row lie side by side"
        yield Violation("tile_out_blocks", s.tile_out_blocks, w.interleave, "blocks", remedy)
    reduction = 1 if structure.diagonal else structure.reduction
    yield from _at_most(
        "tile_in_blocks", s.tile_in_blocks, reduction, "blocks", "lower tile_in_blocks"
    )
    parts = len(kernel_parts(w))
    if parts > 1:
        remedy = "a kernel that is walked in parts takes one block at a time"
        yield from _at_most("tile_in_blocks", s.tile_in_blocks, 1, "blocks", remedy)
    yield from _at_most("input_slots", s.input_slots, 64, "slots", "lower input_slots")
    yield from _at_most("weight_slots", s.weight_slots, 64, "slots", "lower weight_slots")
    yield from _at_most("output_slots", s.output_slots, 8, "slots", "lower output_slots")
    if structure.run % s.tile_out_blocks and structure.run < structure.out_blocks:
        yield Violation(
            "tile_out_blocks", s.tile_out_blocks, structure.run, "blocks", "choose a divisor of it"
        )
    if s.bias is BiasVariant.LOAD and w.epilogue.bias_bits:
        points = s.tile_height * s.tile_width
        yield from _at_most("bias by load", points, 1, "points per tile", "choose another variant")
        if residual_needs_pass(w):
            yield Violation(
                "bias by load", 1, 0, "far residuals", "the shift would move the bias too"
            )
    tiles = -(-w.out_height // s.tile_height) * -(-w.out_width // s.tile_width) * w.batch
    tiles *= -(-structure.out_blocks // s.tile_out_blocks) * -(-reduction // s.tile_in_blocks)
    tiles *= parts
    yield from _at_most("tiles", tiles, most_tiles(w), "tile steps", "choose larger tiles")
    yield from _conv_buffers(w, s, g)


def _conv_buffers(w: ConvWorkload, s: ConvSchedule, g: VtaGeometry) -> Iterator[Violation]:
    demand = conv_buffer_demand(w, s)
    for name, depth, remedy in (
        (
            "inp",
            g.depth.inp,
            "fewer input_slots or a smaller tile_height, tile_width, tile_in_blocks",
        ),
        ("wgt", g.depth.wgt, "fewer weight_slots or a smaller tile_out_blocks, tile_in_blocks"),
        (
            "acc",
            g.depth.acc,
            "fewer output_slots or a smaller tile_height, tile_width, tile_out_blocks",
        ),
    ):
        yield from _at_most(f"{name} buffer", int(getattr(demand, name)), depth, "elements", remedy)


@dataclass(frozen=True)
class ConvBufferDemand:
    """Elements of each buffer that a schedule uses, and its parts; arrays for a batch of schedules.

    Attributes:
        inp, wgt, acc: Totals.
        input_tile, weight_tile, output_tile: One slot of each operand.
        residual_tile: One slot of the residual (two are used), 0 without.
        bias_inputs, bias_accumulators, shift_accumulators, identity_weights: Constants beside the
            slots; weights of the bias where all output blocks share them.
    """

    inp: Any
    wgt: Any
    acc: Any
    input_tile: Any
    weight_tile: Any
    output_tile: Any
    residual_tile: Any
    bias_inputs: int
    bias_accumulators: int
    shift_accumulators: int
    identity_weights: int


RESIDUAL_SLOTS = 2


@dataclass(frozen=True)
class ConvScheduleBatch:
    """Many schedules of one workload: the numeric fields of ``ConvSchedule`` as ``int64`` arrays
    of shapes that broadcast to one."""

    tile_height: npt.NDArray[np.int64]
    tile_width: npt.NDArray[np.int64]
    tile_out_blocks: npt.NDArray[np.int64]
    tile_in_blocks: npt.NDArray[np.int64]
    input_slots: npt.NDArray[np.int64]
    weight_slots: npt.NDArray[np.int64]
    output_slots: npt.NDArray[np.int64]
    bias: BiasVariant


def conv_buffer_demand(w: ConvWorkload, s: ConvSchedule | ConvScheduleBatch) -> ConvBufferDemand:
    """Computes what a schedule, or each of a batch, needs of the buffers."""
    structure = conv_structure(w)
    points = s.tile_height * s.tile_width
    size = (w.in_height, w.in_width)
    tile = tile_of(w)
    step = replace(w.window, kernel=tile)
    rows, columns = input_extents(step, size, s.tile_height, s.tile_width)
    in_tile_blocks = s.tile_out_blocks if structure.diagonal else s.tile_in_blocks
    with_bias = w.epilogue.bias_bits > 0
    extra = bias_tiles(w.epilogue.bias_bits) if with_bias and s.bias is BiasVariant.GEMM else 0
    if w.uniform:
        weight_tile: Any = 1 + extra
    elif w.operand:
        weight_tile = s.tile_out_blocks * s.tile_in_blocks
    else:
        weight_tile = s.tile_out_blocks * (s.tile_in_blocks * tile[0] * tile[1] + extra)
    residual = w.epilogue.residual_bits is not None
    residual_tile = points * int(residual) * w.halves
    identities = w.halves if residual else 0
    if w.operand:
        identities = extra
    bias_inputs = 1 if extra else 0
    bias_accumulators = structure.out_blocks if with_bias and s.bias is BiasVariant.ALU else 0
    shift_accumulators = structure.out_blocks if w.epilogue.channel_shift else 0
    input_tile = rows * columns * in_tile_blocks
    output_tile = points * s.tile_out_blocks
    return ConvBufferDemand(
        inp=bias_inputs + s.input_slots * input_tile + RESIDUAL_SLOTS * residual_tile,
        wgt=identities + s.weight_slots * weight_tile,
        acc=bias_accumulators + shift_accumulators + s.output_slots * output_tile,
        input_tile=input_tile,
        weight_tile=weight_tile,
        output_tile=output_tile,
        residual_tile=residual_tile,
        bias_inputs=bias_inputs,
        bias_accumulators=bias_accumulators,
        shift_accumulators=shift_accumulators,
        identity_weights=identities,
    )


def fits(demand: ConvBufferDemand, geometry: VtaGeometry) -> Any:
    """Whether a demand fits all buffers: a truth value, or an array of them."""
    depth = geometry.depth
    return (demand.inp <= depth.inp) & (demand.wgt <= depth.wgt) & (demand.acc <= depth.acc)


def _max_pool(w: MaxPoolWorkload, s: MaxPoolSchedule, g: VtaGeometry) -> Iterator[Violation]:
    yield from _at_most("tile_height", s.tile_height, w.out_height, "rows", "lower tile_height")
    yield from _at_most("tile_width", s.tile_width, w.out_width, "columns", "lower tile_width")
    yield from _at_most("tile_blocks", s.tile_blocks, blocks(w.channels), "blocks", "lower it")
    yield from _at_most("input_slots", s.input_slots, 64, "slots", "lower input_slots")
    yield from _at_most("output_slots", s.output_slots, 8, "slots", "lower output_slots")
    size = (w.in_height, w.in_width)
    rows, columns = input_extents(w.window, size, s.tile_height, s.tile_width)
    remedy = "fewer slots or a smaller tile"
    inputs = rows * columns * s.tile_blocks
    outputs = s.tile_height * s.tile_width * s.tile_blocks
    tiles = -(-w.out_height // s.tile_height) * -(-w.out_width // s.tile_width) * w.batch
    tiles *= -(-blocks(w.channels) // s.tile_blocks)
    yield from _at_most("tiles", tiles, most_tiles(w), "tiles", "choose larger tiles")
    yield from _at_most(
        "inp buffer", int(s.input_slots * inputs * w.halves), g.depth.inp, "elements", remedy
    )
    demand = int(inputs) + s.output_slots * outputs
    yield from _at_most("acc buffer", demand, g.depth.acc, "elements", remedy)
