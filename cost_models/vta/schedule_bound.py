"""What no program of a schedule can beat: the work of its compute module, one after another.

Unlike a prediction this is never above the measured cycles, so it proves that schedules need not be
measured.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.legality.bound import direct_bound, lower_bound
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    EpilogueGranularity,
    FoldVariant,
)
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, Rows, position
from compiler_core.units.vta.structure.conv_structure import bias_tiles, conv_structure
from compiler_core.units.vta.structure.fold import fold_workload
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts


def schedule_bounds(workload: Workload, rows: Rows, core: VtaCore) -> npt.NDArray[np.int64]:
    """Least cycles of each schedule, ``int64[n]``; never below the bound of the workload.

    Args:
        workload: What they schedule.
        rows: ``int64[n, columns]``, legal schedules.
        core: Where they run.
    """
    result = np.full(len(rows), lower_bound(workload, core).cycles, np.int64)
    if not isinstance(workload, ConvWorkload):
        return result
    for fold_number, fold in enumerate(FoldVariant):
        for bias_number, bias in enumerate(BiasVariant):
            chosen = np.flatnonzero(
                (rows[:, ConvColumn.FOLD] == fold_number)
                & (rows[:, ConvColumn.BIAS] == bias_number)
            )
            if len(chosen):
                compute = _compute(fold_workload(workload, fold), rows[chosen], bias, core)
                result[chosen] = np.maximum(result[chosen], compute)
    return result


def _compute(w: ConvWorkload, rows: Rows, bias: BiasVariant, core: VtaCore) -> Rows:
    """Micro-ops and fixed costs of the instructions that every grouping of taps needs."""
    structure, costs = conv_structure(w), core.timing.costs
    reduction = 1 if structure.diagonal else min(high - low for low, high in structure.ranges)
    images = w.batch * -(-w.out_height // rows[:, ConvColumn.TILE_HEIGHT])
    images = images * -(-w.out_width // rows[:, ConvColumn.TILE_WIDTH])
    channels = -(-structure.out_blocks // rows[:, ConvColumn.TILE_OUT_BLOCKS])
    tiles = images * channels
    steps = tiles * -(-reduction // rows[:, ConvColumn.TILE_IN_BLOCKS])
    vectors = w.batch * w.out_height * w.out_width * structure.out_blocks
    work = direct_bound(w, core).compute
    fixed = steps * costs.gemm.fixed + tiles * w.epilogue.passes * costs.alu_immediate.fixed
    with_bias = w.epilogue.bias_bits > 0
    if not (bias is BiasVariant.LOAD and with_bias):
        work += vectors * costs.gemm_reset.per_micro_op
        fixed = fixed + tiles * costs.gemm_reset.fixed
    if bias is BiasVariant.GEMM and with_bias:
        extra = bias_tiles(w.epilogue.bias_bits)
        work += extra * vectors * costs.gemm.per_micro_op
        fixed = fixed + extra * tiles * costs.gemm.fixed
    if bias is BiasVariant.ALU and with_bias:
        work += vectors * costs.alu_tensor.per_micro_op
        fixed = fixed + tiles * costs.alu_tensor.fixed
    if w.epilogue.residual_bits is not None:
        work += vectors * costs.gemm.per_micro_op
    by_block = rows[:, ConvColumn.EPILOGUE] == position(EpilogueGranularity.BLOCK)
    further = images * (structure.out_blocks // w.interleave - channels) * w.epilogue.passes
    fixed = fixed + by_block * further * costs.alu_immediate.fixed
    return np.asarray(work + fixed + _first_load(w, rows, core) + _last_store(w, rows, core))


def _first_load(w: ConvWorkload, rows: Rows, core: VtaCore) -> Rows:
    """Cycles in which the first GEMM waits for its weights, beyond the reset before it."""
    structure, timing = conv_structure(w), core.timing
    apart = w.uniform or w.operand  # a bias from tiles of its own comes before the weights
    if apart or structure.diagonal or w.groups > 1 or w.epilogue.residual_bits is not None:
        return np.zeros(len(rows), np.int64)
    inner = np.minimum(rows[:, ConvColumn.TILE_IN_BLOCKS], structure.reduction)
    taps = min(part.taps for part in kernel_parts(w))
    tiles = rows[:, ConvColumn.TILE_OUT_BLOCKS] * inner * taps
    beats = tiles * (timing.element_bytes.wgt // timing.port_bytes)
    points = rows[:, ConvColumn.TILE_HEIGHT] * rows[:, ConvColumn.TILE_WIDTH]
    vectors = points * rows[:, ConvColumn.TILE_OUT_BLOCKS]
    dearest = max(timing.costs.gemm_reset.per_micro_op, timing.costs.alu_tensor.per_micro_op)
    before = (dearest + timing.costs.gemm_reset.per_micro_op) * vectors
    before = before + timing.costs.gemm_reset.fixed + timing.costs.alu_tensor.fixed
    return np.asarray(np.maximum(0, beats - before), np.int64)


def _last_store(w: ConvWorkload, rows: Rows, core: VtaCore) -> Rows:
    """Cycles of the last STORE, which follows all computation."""
    timing, out_blocks = core.timing, conv_structure(w).out_blocks
    height = (w.out_height - 1) % rows[:, ConvColumn.TILE_HEIGHT] + 1
    width = (w.out_width - 1) % rows[:, ConvColumn.TILE_WIDTH] + 1
    count = (out_blocks - 1) % rows[:, ConvColumn.TILE_OUT_BLOCKS] + 1
    whole = rows[:, ConvColumn.EPILOGUE] == position(EpilogueGranularity.TILE)
    elements = height * width * np.where(whole, count, 1)
    return np.asarray(elements * (-(-timing.element_bytes.out // timing.port_bytes) + 1))
