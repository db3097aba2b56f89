"""Rules of legality and equality over many schedules at once.

Buffers are judged by the very functions that the lowering uses; the other rules are restated over
arrays and held to ``violations`` by a test.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.legality.legality import (
    ConvScheduleBatch,
    conv_buffer_demand,
    input_extents,
    most_tiles,
)
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    TapGrouping,
)
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, MaxPoolColumn, Rows, position
from compiler_core.units.vta.structure.conv_structure import (
    blocks,
    conv_structure,
    residual_needs_pass,
)
from compiler_core.units.vta.structure.fold import fold_workload
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts
from compiler_core.units.vta.structure.tiles import axis_tiles
from search_spaces.task_space import Cap

C, P = ConvColumn, MaxPoolColumn

CONV_RULES = ("tile_in_blocks", "bias by load", "tiles", "inp buffer", "wgt buffer", "acc buffer")
MAX_POOL_RULES = ("tiles", "inp buffer", "acc buffer")


def rule_names(workload: Workload) -> tuple[str, ...]:
    """Rules that the points of a workload's space can break."""
    return CONV_RULES if isinstance(workload, ConvWorkload) else MAX_POOL_RULES


def broken_rules(workload: Workload, rows: Rows, geometry: VtaGeometry) -> npt.NDArray[np.bool_]:
    """Which rules each schedule breaks: ``bool[n, rules]``.

    Args:
        workload: What is scheduled.
        rows: ``int64[n, columns]`` of values that the tables of the space hold.
        geometry: Buffers.
    """
    if isinstance(workload, MaxPoolWorkload):
        return _max_pool_rules(workload, rows, geometry)
    result = np.zeros((len(rows), len(CONV_RULES)), bool)
    for fold_number, fold in enumerate(FoldVariant):
        of_fold = rows[:, C.FOLD] == fold_number
        for bias_number, bias in enumerate(BiasVariant):
            chosen = np.flatnonzero(of_fold & (rows[:, C.BIAS] == bias_number))
            if len(chosen):
                folded = fold_workload(workload, fold)
                result[chosen] = _conv_rules(folded, rows[chosen], bias, geometry)
    return result


def _conv_rules(
    w: ConvWorkload, rows: Rows, bias: BiasVariant, geometry: VtaGeometry
) -> npt.NDArray[np.bool_]:
    structure = conv_structure(w)
    reduction = 1 if structure.diagonal else structure.reduction
    batch = ConvScheduleBatch(
        rows[:, C.TILE_HEIGHT],
        rows[:, C.TILE_WIDTH],
        rows[:, C.TILE_OUT_BLOCKS],
        rows[:, C.TILE_IN_BLOCKS],
        rows[:, C.INPUT_SLOTS],
        rows[:, C.WEIGHT_SLOTS],
        rows[:, C.OUTPUT_SLOTS],
        bias,
    )
    load_bias = np.zeros(len(rows), bool)
    if bias is BiasVariant.LOAD and w.epilogue.bias_bits:
        load_bias = (batch.tile_height * batch.tile_width > 1) | residual_needs_pass(w)
    images, channels = conv_tile_counts(w, rows)
    parts = len(kernel_parts(w))
    tiles = images * channels * -(-reduction // batch.tile_in_blocks) * parts
    most_in_blocks = reduction if parts == 1 else 1
    demand = conv_buffer_demand(w, batch)
    depth = geometry.depth
    columns = (
        batch.tile_in_blocks > most_in_blocks,
        load_bias,
        tiles > most_tiles(w),
        demand.inp > depth.inp,
        demand.wgt > depth.wgt,
        demand.acc > depth.acc,
    )
    return np.stack([np.broadcast_to(column, len(rows)) for column in columns], axis=1)


def conv_tile_counts(w: ConvWorkload, rows: Rows) -> tuple[Rows, Rows]:
    """Image tiles and output-channel tiles of each schedule."""
    images = w.batch * -(-w.out_height // rows[:, C.TILE_HEIGHT])
    images = images * -(-w.out_width // rows[:, C.TILE_WIDTH])
    return images, -(-conv_structure(w).out_blocks // rows[:, C.TILE_OUT_BLOCKS])


def _max_pool_rules(w: MaxPoolWorkload, rows: Rows, geometry: VtaGeometry) -> npt.NDArray[np.bool_]:
    height, width, count = rows[:, P.TILE_HEIGHT], rows[:, P.TILE_WIDTH], rows[:, P.TILE_BLOCKS]
    in_rows, in_columns = input_extents(w.window, (w.in_height, w.in_width), height, width)
    inputs = in_rows * in_columns * count
    columns = (
        _max_pool_tiles(w, rows) > most_tiles(w),
        rows[:, P.INPUT_SLOTS] * inputs * w.halves > geometry.depth.inp,
        inputs + rows[:, P.OUTPUT_SLOTS] * height * width * count > geometry.depth.acc,
    )
    return np.stack(columns, axis=1)


def _max_pool_tiles(w: MaxPoolWorkload, rows: Rows) -> Rows:
    tiles = w.batch * -(-w.out_height // rows[:, P.TILE_HEIGHT])
    tiles = tiles * -(-w.out_width // rows[:, P.TILE_WIDTH])
    return np.asarray(tiles * -(-blocks(w.channels) // rows[:, P.TILE_BLOCKS]))


def canonical_rows(workload: Workload, rows: Rows, cap: Cap) -> Rows:
    """The one of all schedules with the same program that stands for them.

    More slots than tiles are never used; an order over one tile is none; there is nothing to group
    where padding cuts no rectangles.
    """
    result = rows.copy(order="K")
    if isinstance(workload, MaxPoolWorkload):
        tiles = _max_pool_tiles(workload, rows)
        for slots in (P.INPUT_SLOTS, P.OUTPUT_SLOTS):
            name = slots.name.lower()
            result[:, slots] = np.minimum(rows[:, slots], cap(name, tiles))
        return result
    for number, fold in enumerate(FoldVariant):
        chosen = np.flatnonzero(rows[:, C.FOLD] == number)
        if len(chosen) == len(rows):
            return _canonical_conv(fold_workload(workload, fold), rows, cap)
        if len(chosen):
            part = _canonical_conv(fold_workload(workload, fold), rows[chosen], cap)
            result[chosen] = part
    return result


def _canonical_conv(w: ConvWorkload, rows: Rows, cap: Cap) -> Rows:
    structure = conv_structure(w)
    result = rows.copy(order="K")
    images, channels = conv_tile_counts(w, rows)
    reduction = 1 if structure.diagonal else structure.reduction
    steps = -(-reduction // rows[:, C.TILE_IN_BLOCKS]) * len(kernel_parts(w))
    result[(images == 1) | (channels == 1), C.ORDER] = position(LoopOrder.WEIGHT_STATIONARY)
    dense = structure.run == structure.out_blocks and not structure.diagonal
    inputs = images * steps if dense else images * steps * channels
    for column, distinct in (
        (C.INPUT_SLOTS, inputs),
        (C.WEIGHT_SLOTS, channels * steps),
        (C.OUTPUT_SLOTS, images * channels),
    ):
        name = column.name.lower()
        result[:, column] = np.minimum(rows[:, column], cap(name, distinct))
    single = rows[:, C.TILE_OUT_BLOCKS] == w.interleave
    result[single, C.EPILOGUE] = position(EpilogueGranularity.TILE)
    only = ~single & (images * channels == 1)
    tail = result[:, C.EPILOGUE] == position(EpilogueGranularity.TAIL)
    result[only & tail, C.EPILOGUE] = position(EpilogueGranularity.BLOCK)
    cuts = _most_spans(w, 0)[rows[:, C.TILE_HEIGHT]] * _most_spans(w, 1)[rows[:, C.TILE_WIDTH]]
    result[cuts < 2, C.TAPS] = position(TapGrouping.RECTANGLES)
    return result


@lru_cache(maxsize=256)
def _most_spans(w: ConvWorkload, axis: int) -> Rows:
    """``int64[outputs + 1]``: most rectangles along an axis in any tile of each size."""
    size, outputs = (w.in_height, w.in_width)[axis], (w.out_height, w.out_width)[axis]
    if w.window.pads[axis] == 0 and w.window.pads[axis + 2] == 0:
        return np.ones(outputs + 1, np.int64)
    return np.array(
        [1]
        + [
            max(len(tile.spans) for tile in axis_tiles(w.window, axis, size, outputs, extent))
            for extent in range(1, outputs + 1)
        ],
        np.int64,
    )
