"""Features of a (workload, schedule) pair: closed forms and the coarse walk, all of them relative.

Every feature is a logarithm, a fraction or a small count, so that what is learnt on one layer holds
for another of a different size. :data:`FEATURES` documents name, unit and meaning; the schema of
saved models is the list of names.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.legality.bound import Bound, lower_bound
from compiler_core.units.vta.legality.default_schedule import estimate_cycles
from compiler_core.units.vta.legality.legality import (
    ConvScheduleBatch,
    conv_buffer_demand,
    input_extents,
)
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import BiasVariant, FoldVariant, LoopOrder
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, MaxPoolColumn, Rows
from compiler_core.units.vta.structure.conv_structure import blocks, conv_structure
from compiler_core.units.vta.structure.fold import fold_workload
from cost_models.task_features import FeatureBatch
from cost_models.vta.pipeline import predict

Floats = npt.NDArray[np.float64]

FEATURES: tuple[tuple[str, str, str], ...] = (
    ("log_walk", "ln", "cycles of the coarse walk over the bound"),
    ("log_estimate", "ln", "cycles of the closed-form estimate over the bound"),
    ("compute_busy", "1", "busy cycles of the compute module over the bound"),
    ("load_busy", "1", "busy cycles of the load module over the bound"),
    ("store_busy", "1", "busy cycles of the store module over the bound"),
    ("compute_wait", "1", "waiting cycles of the compute module over the bound"),
    ("load_wait", "1", "waiting cycles of the load module over the bound"),
    ("input_beats", "1", "beats of input loads over the bound"),
    ("weight_beats", "1", "beats of weight loads over the bound"),
    ("input_loads", "ln", "input tiles loaded, over tile steps: 1 / reuse"),
    ("weight_loads", "ln", "weight tiles loaded, over tile steps: 1 / reuse"),
    ("instructions", "ln", "instructions of the program"),
    ("fetch", "1", "three cycles per instruction over the bound"),
    ("micro_op_words", "1", "micro-ops of all tables over their buffer"),
    ("micro_op_busy", "1", "cycles of micro-op loads over the bound"),
    ("tail", "1", "STORE cycles after the last computation over the bound"),
    ("output_tiles", "ln", "output tiles"),
    ("tile_steps", "ln", "tile steps, reduction tiles included"),
    ("bound_compute", "1", "compute part of the bound over the bound"),
    ("bound_reads", "1", "read part of the bound over the bound"),
    ("bound_writes", "1", "write part of the bound over the bound"),
    ("input_fill", "1", "demand of the input buffer over its depth"),
    ("weight_fill", "1", "demand of the weight buffer over its depth"),
    ("accumulator_fill", "1", "demand of the accumulator buffer over its depth"),
    ("row_waste", "1", "rows of whole tiles over output rows"),
    ("column_waste", "1", "columns of whole tiles over output columns"),
    ("full_width", "flag", "a tile spans all columns: one burst for many rows"),
    ("tile_height", "log2 rows", "output rows of a tile"),
    ("tile_width", "log2 columns", "output columns of a tile"),
    ("tile_out_blocks", "log2 blocks", "output blocks of a tile"),
    ("tile_in_blocks", "log2 blocks", "input blocks of a tile"),
    ("input_slots", "log2 slots", "slots of input tiles"),
    ("weight_slots", "log2 slots", "slots of weight tiles"),
    ("output_slots", "log2 slots", "slots of output tiles"),
    ("order", "member", "loop order"),
    ("bias", "member", "variant of the bias"),
    ("epilogue", "member", "granularity of requantization"),
    ("micro_ops", "member", "when micro-ops are loaded"),
    ("fold", "member", "layout of the input"),
    ("taps", "member", "grouping of taps"),
    ("out_height", "log2 rows", "output rows"),
    ("out_width", "log2 columns", "output columns"),
    ("out_blocks", "log2 blocks", "output blocks"),
    ("reduction", "log2 blocks", "input blocks of an output block"),
    ("taps_count", "count", "kernel positions"),
    ("stride", "count", "row stride"),
    ("max_pool", "flag", "a pool, no convolution"),
    ("log_bound", "ln cycles", "the bound"),
    ("latency", "cycles", "memory latency"),
    ("port", "bytes", "width of the memory port"),
)

NAMES = tuple(name for name, _, _ in FEATURES)

_INDEX = {name: index for index, name in enumerate(NAMES)}


def tiling_features(workload: Workload, rows: Rows, core: VtaCore) -> FeatureBatch:
    """Computes the features of many schedules at once.

    Args:
        workload: What they schedule.
        rows: ``int64[n, columns]``, legal schedules.
        core: Where they run.
    """
    bound = lower_bound(workload, core)
    table: dict[str, npt.ArrayLike] = {
        "log_bound": np.log(bound.cycles),
        "bound_compute": bound.compute / bound.cycles,
        "bound_reads": bound.reads / bound.cycles,
        "bound_writes": bound.writes / bound.cycles,
        "latency": core.timing.memory_latency_cycles,
        "port": core.timing.port_bytes,
        "out_height": np.log2(workload.out_height),
        "out_width": np.log2(workload.out_width),
        "taps_count": workload.window.kernel[0] * workload.window.kernel[1],
        "stride": workload.window.strides[0],
    }
    if isinstance(workload, MaxPoolWorkload):
        walk = _max_pool_features(workload, rows, core, bound, table)
    else:
        walk = _conv_features(workload, rows, core, bound, table)
    height, width = rows[:, ConvColumn.TILE_HEIGHT], rows[:, ConvColumn.TILE_WIDTH]
    table["row_waste"] = -(-workload.out_height // height) * height / workload.out_height
    table["column_waste"] = -(-workload.out_width // width) * width / workload.out_width
    table["full_width"] = width == workload.out_width
    table["log_walk"] = np.log(walk / bound.cycles)
    values = np.full((len(rows), len(NAMES)), np.nan, np.float32)
    for name, column in table.items():
        values[:, _INDEX[name]] = column
    return FeatureBatch(values, bound.cycles, walk)


def _conv_features(
    w: ConvWorkload, rows: Rows, core: VtaCore, bound: Bound, table: dict[str, npt.ArrayLike]
) -> Floats:
    structure = conv_structure(w)
    p = predict(w, rows, core)
    b, steps = bound.cycles, np.maximum(p.tile_steps, 1)
    table["compute_busy"] = p.compute_busy_cycles / b
    table["load_busy"] = p.load_busy_cycles / b
    table["store_busy"] = p.store_busy_cycles / b
    table["compute_wait"] = p.compute_wait_cycles / b
    table["load_wait"] = p.load_wait_cycles / b
    table["input_beats"], table["weight_beats"] = p.input_beats / b, p.weight_beats / b
    table["input_loads"] = np.log(np.maximum(p.input_loads, 1) / steps)
    table["weight_loads"] = np.log(np.maximum(p.weight_loads, 1) / steps)
    table["instructions"] = np.log(p.instructions)
    table["fetch"] = 3 * p.instructions / b
    table["micro_op_words"] = p.micro_op_words / core.geometry.depth.uop
    table["micro_op_busy"] = p.micro_op_cycles / b
    table["tail"] = p.tail_cycles / b
    table["output_tiles"], table["tile_steps"] = np.log(p.output_tiles), np.log(steps)
    estimate, fills = closed_forms(w, rows, core)
    table["log_estimate"] = np.log(estimate / b)
    table["input_fill"], table["weight_fill"], table["accumulator_fill"] = fills
    for column in ConvColumn:
        name = column.name.lower()
        value = rows[:, column]
        sized = name.startswith("tile_") or name.endswith("_slots")
        table[name] = np.log2(value) if sized else value
    table["out_blocks"] = np.log2(structure.out_blocks)
    table["reduction"] = np.log2(structure.reduction)
    table["max_pool"] = 0
    return p.cycles


def closed_forms(
    workload: ConvWorkload, rows: Rows, core: VtaCore
) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
    """Closed-form estimate in cycles and fills of the three buffers, each ``float64[n]``."""
    estimate = np.zeros(len(rows))
    fills = (np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows)))
    depth = core.geometry.depth
    C = ConvColumn  # noqa: N806
    for fold_number, fold in enumerate(FoldVariant):
        for bias_number, bias in enumerate(BiasVariant):
            for order_number, order in enumerate(LoopOrder):
                chosen = np.flatnonzero(
                    (rows[:, C.FOLD] == fold_number)
                    & (rows[:, C.BIAS] == bias_number)
                    & (rows[:, C.ORDER] == order_number)
                )
                if len(chosen) == 0:
                    continue
                w, part = fold_workload(workload, fold), rows[chosen]
                batch = ConvScheduleBatch(
                    part[:, C.TILE_HEIGHT],
                    part[:, C.TILE_WIDTH],
                    part[:, C.TILE_OUT_BLOCKS],
                    part[:, C.TILE_IN_BLOCKS],
                    part[:, C.INPUT_SLOTS],
                    part[:, C.WEIGHT_SLOTS],
                    part[:, C.OUTPUT_SLOTS],
                    bias,
                )
                demand = conv_buffer_demand(w, batch)
                estimate[chosen] = estimate_cycles(w, batch, demand, order, core)
                for fill, name in zip(fills, ("inp", "wgt", "acc"), strict=True):
                    fill[chosen] = getattr(demand, name) / getattr(depth, name)
    return estimate, fills


def _max_pool_features(
    w: MaxPoolWorkload, rows: Rows, core: VtaCore, bound: Bound, table: dict[str, npt.ArrayLike]
) -> Floats:
    P = MaxPoolColumn  # noqa: N806
    height, width, count = rows[:, P.TILE_HEIGHT], rows[:, P.TILE_WIDTH], rows[:, P.TILE_BLOCKS]
    in_rows, in_columns = input_extents(w.window, (w.in_height, w.in_width), height, width)
    tiles = w.batch * -(-w.out_height // height) * -(-w.out_width // width)
    tiles = tiles * -(-blocks(w.channels) // count)
    timing, geometry = core.timing, core.geometry
    costs, port = timing.costs, timing.port_bytes
    staged, outputs = in_rows * in_columns * count, height * width * count
    taps = w.window.kernel[0] * w.window.kernel[1]
    moves = (costs.gemm.per_micro_op + costs.gemm_reset.per_micro_op) * (staged + outputs)
    compare = costs.alu_tensor.per_micro_op * outputs * (taps - 1)
    passes = costs.alu_immediate.per_micro_op * outputs * (w.clip_low + w.clip_high)
    compute = tiles * (moves + compare + passes + costs.alu_tensor.fixed * (3 + taps))
    loads = timing.memory_latency_cycles + 7
    lines = np.where(width == w.out_width, 1, in_rows)
    load = tiles * (staged * timing.element_bytes.inp / port + count * (loads + lines))
    store = tiles * outputs * (-(-timing.element_bytes.out // port) + 1)
    first, last = load / tiles, store / tiles
    overlap = (rows[:, P.INPUT_SLOTS] > 1) & (rows[:, P.OUTPUT_SLOTS] > 1)
    walk = np.where(overlap, np.maximum(compute, load) + first + last, compute + load + last)
    table["compute_busy"], table["load_busy"] = compute / bound.cycles, load / bound.cycles
    table["store_busy"], table["tail"] = store / bound.cycles, last / bound.cycles
    table["input_beats"] = tiles * staged * timing.element_bytes.inp / port / bound.cycles
    table["output_tiles"] = table["tile_steps"] = np.log(tiles)
    table["input_fill"] = rows[:, P.INPUT_SLOTS] * staged / geometry.depth.inp
    fill = staged + rows[:, P.OUTPUT_SLOTS] * outputs
    table["accumulator_fill"] = fill / geometry.depth.acc
    table["tile_height"], table["tile_width"] = np.log2(height), np.log2(width)
    table["tile_out_blocks"] = np.log2(count)
    table["input_slots"] = np.log2(rows[:, P.INPUT_SLOTS])
    table["output_slots"] = np.log2(rows[:, P.OUTPUT_SLOTS])
    table["micro_ops"] = rows[:, P.MICRO_OPS]
    table["out_blocks"] = np.log2(blocks(w.channels))
    table["max_pool"] = 1
    return np.asarray(walk, np.float64)
