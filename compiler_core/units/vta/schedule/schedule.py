"""Schedules: every decision that lowering a workload to VTA leaves open, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from compiler_core.hashed_once import hashed_once
from compiler_core.tensor.digest import digest
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule


class LoopOrder(Enum):
    """Which operand changes slowest while output tiles are walked; the reduction is always
    innermost."""

    WEIGHT_STATIONARY = "weight"
    """Output-channel tiles outside, image tiles inside: weights stay, inputs stream."""
    INPUT_STATIONARY = "input"
    """Image tiles outside, output-channel tiles inside: inputs stay, weights stream."""


class BiasVariant(Enum):
    """How bias and rounding constant reach the accumulators."""

    GEMM = "gemm"
    """A constant input vector times a weight tile that holds the bias: one cycle per output vector.
    """
    ALU = "alu"
    """A tensor-tensor addition of a loaded accumulator row: two cycles per output vector."""
    LOAD = "load"
    """The accumulators are loaded with the bias instead of being reset; one output point per tile.
    """


class FoldVariant(Enum):
    """Whether kernel taps of a few-channel convolution become input channels (a layout of its
    input)."""

    NONE = "none"
    COLUMNS = "columns"
    WINDOW = "window"


class TapGrouping(Enum):
    """How the taps of a tile become instructions where padding cuts it into rectangles."""

    RECTANGLES = "rectangles"
    """One instruction for each rectangle of outputs with equal valid taps."""
    MERGED = "merged"
    """All rectangles, or those of a row span, in one micro-op table, as far as it stays short."""


class EpilogueGranularity(Enum):
    """On how much of an output tile requantization and store work at a time."""

    TILE = "tile"
    BLOCK = "block"
    """One block of 16 output channels at a time: stores start earlier, more instructions."""
    TAIL = "tail"
    """By block in the last tile only, where nothing else hides the store."""


class MicroOpLoading(Enum):
    """When micro-ops are loaded."""

    PRELOAD = "preload"
    """All at the start, where they fit their buffer together; else on demand."""
    DEMAND = "demand"
    """Each table just before its first use."""


@hashed_once
@dataclass(frozen=True)
class ConvSchedule:
    """Schedule of a :class:`~compiler_core.tensor.workload.ConvWorkload`.

    Attributes:
        tile_height, tile_width: Output rows and columns of a tile.
        tile_out_blocks, tile_in_blocks: Blocks of 16 output and input channels of a tile.
        order: Loop order of the tiles.
        input_slots, weight_slots, output_slots: Buffers that the tiles of an operand rotate through
            (virtual threads); a tile that is still in a slot is not loaded again, so as many slots
            as reduction tiles keep an operand stationary.
        bias: Variant of the bias.
        epilogue: Granularity of requantization and store.
        micro_ops: When micro-ops are loaded.
        fold: Layout variant of the input.
        taps: How valid taps are grouped into instructions.
    """

    tile_height: int
    tile_width: int
    tile_out_blocks: int
    tile_in_blocks: int
    order: LoopOrder = LoopOrder.WEIGHT_STATIONARY
    input_slots: int = 2
    weight_slots: int = 1
    output_slots: int = 2
    bias: BiasVariant = BiasVariant.GEMM
    epilogue: EpilogueGranularity = EpilogueGranularity.TILE
    micro_ops: MicroOpLoading = MicroOpLoading.PRELOAD
    fold: FoldVariant = FoldVariant.NONE
    taps: TapGrouping = TapGrouping.RECTANGLES

    @cached_property
    def digest(self) -> str:
        """Key of the schedule."""
        return digest(self)


@dataclass(frozen=True)
class MaxPoolSchedule:
    """Schedule of a ``MaxPoolWorkload``; attributes as above."""

    tile_height: int
    tile_width: int
    tile_blocks: int
    input_slots: int = 2
    output_slots: int = 2
    micro_ops: MicroOpLoading = MicroOpLoading.PRELOAD

    @cached_property
    def digest(self) -> str:
        """Key of the schedule."""
        return digest(self)


Schedule = ConvSchedule | MaxPoolSchedule | ResidentSchedule


def fold_of(schedule: Schedule) -> FoldVariant:
    """How the input is laid out for a schedule."""
    return schedule.fold if isinstance(schedule, ConvSchedule) else FoldVariant.NONE


def has_gemm_bias(schedule: Schedule) -> bool:
    """Whether weights hold the biases."""
    return isinstance(schedule, ConvSchedule) and schedule.bias is BiasVariant.GEMM


def schedule_kind(document: object) -> type[Schedule]:
    """Which kind of schedule the keys of a document speak of."""
    if isinstance(document, dict) and "tile_blocks" in document:
        return MaxPoolSchedule
    if isinstance(document, dict) and "loads" in document:
        return ResidentSchedule
    return ConvSchedule
