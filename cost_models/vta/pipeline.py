"""A coarse walk over the tiles of convolution schedules: predicted cycles and their parts.

Roofs and sums misjudge tilings by 18 to 90 %, because they leave out what overlaps and what waits.
This walk keeps the four actors, the slots with their replacement, the tokens between them and the
instruction fetch, and counts the rest: some ten microseconds per schedule where lowering and
timing take milliseconds. It is a feature, not a judge: only measured cycles are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.lower.tap_nests import MAX_MERGED_TABLE
from compiler_core.units.vta.machine.hardware import HAZARD_DISTANCE, TimingProfile, VtaCore
from compiler_core.units.vta.schedule.schedule import FoldVariant
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, Rows
from compiler_core.units.vta.structure.conv_structure import (
    bias_tiles,
    conv_structure,
    residual_needs_pass,
)
from compiler_core.units.vta.structure.fold import fold_workload
from compiler_core.units.vta.structure.tiles import axis_tiles

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PipelinePrediction:
    """Parts of the predicted time of n schedules, each ``float64[n]``.

    Attributes:
        cycles: From launch to FINISH.
        compute_busy_cycles, load_busy_cycles, store_busy_cycles: Work of the three modules.
        compute_wait_cycles, load_wait_cycles: Waits for tokens and instructions.
        input_beats, weight_beats: On the port.
        input_loads, weight_loads: Tiles loaded.
        instructions: Instructions of the program.
        micro_op_words: Micro-ops of all distinct tables.
        micro_op_cycles: Their loads on the compute module.
        tail_cycles: STORE time after the last computation.
        output_tiles, tile_steps: Iterations of the walk.
    """

    cycles: Floats
    compute_busy_cycles: Floats
    load_busy_cycles: Floats
    store_busy_cycles: Floats
    compute_wait_cycles: Floats
    load_wait_cycles: Floats
    input_beats: Floats
    weight_beats: Floats
    input_loads: Floats
    weight_loads: Floats
    instructions: Floats
    micro_op_words: Floats
    micro_op_cycles: Floats
    tail_cycles: Floats
    output_tiles: Floats
    tile_steps: Floats


def predict(workload: ConvWorkload, rows: Rows, core: VtaCore) -> PipelinePrediction:
    """Predicts schedules without lowering them.

    Args:
        workload: What they schedule.
        rows: ``int64[n, 13]``, legal schedules
            (:mod:`compiler_core.units.vta.schedule.schedule_rows`).
        core: Where they run.
    """
    from cost_models.vta._pipeline_kernel import OUTPUTS, walk

    result = np.zeros((len(rows), OUTPUTS))
    for position, fold in enumerate(FoldVariant):
        chosen = np.flatnonzero(rows[:, ConvColumn.FOLD] == position)
        if len(chosen) == 0:
            continue
        folded = fold_workload(workload, fold)
        part = np.zeros((len(chosen), OUTPUTS))
        walk(
            np.ascontiguousarray(rows[chosen]),
            _workload_numbers(folded),
            _machine_numbers(core),
            _axis_table(folded, 0),
            _axis_table(folded, 1),
            np.array(conv_structure(folded).ranges, np.int64),
            part,
        )
        result[chosen] = part
    return PipelinePrediction(*(np.ascontiguousarray(column) for column in result.T))


@lru_cache(maxsize=256)
def _workload_numbers(w: ConvWorkload) -> npt.NDArray[np.int64]:
    structure = conv_structure(w)
    numbers = (
        w.batch,
        w.out_height,
        w.out_width,
        w.in_height,
        w.in_width,
        structure.out_blocks,
        1 if structure.diagonal else structure.reduction,
        structure.taps,
        structure.diagonal,
        w.uniform,
        bias_tiles(w.epilogue.bias_bits),
        w.epilogue.bias_bits,
        w.epilogue.passes,
        w.epilogue.residual_bits is not None,
        residual_needs_pass(w),
        w.window.kernel[0],
    )
    return np.array(numbers, np.int64)


@lru_cache(maxsize=64)
def _machine_numbers(core: VtaCore) -> npt.NDArray[np.int64]:
    timing, costs = core.timing, core.timing.costs
    pipelined = timing.profile is TimingProfile.RTL_PIPELINED
    latency, port = timing.memory_latency_cycles, timing.port_bytes
    numbers = (
        costs.gemm.per_micro_op,
        costs.gemm.fixed,
        costs.gemm_reset.per_micro_op,
        costs.gemm_reset.fixed,
        costs.alu_immediate.per_micro_op,
        costs.alu_immediate.fixed,
        costs.alu_tensor.per_micro_op,
        costs.alu_tensor.fixed,
        timing.element_bytes.inp,
        timing.element_bytes.wgt,
        timing.element_bytes.acc,
        timing.element_bytes.uop,
        port,
        min(timing.burst_boundary_bytes, timing.burst_beats * port),
        6 + latency if pipelined else 1,
        1 if pipelined else 4 + latency,
        6 + latency if pipelined else 5 + latency,
        -(-timing.element_bytes.out // port) + 1,
        3,
        timing.fetch_batch_instructions,
        latency + 5,
        core.geometry.depth.uop,
        MAX_MERGED_TABLE,
        timing.element_bytes.out,
        HAZARD_DISTANCE,
        timing.outstanding_bursts,
    )
    return np.array(numbers, np.int64)


@lru_cache(maxsize=256)
def _axis_table(w: ConvWorkload, axis: int) -> npt.NDArray[np.int64]:
    """``int64[tile + 1, tiles, 7]``: extent, input size, pairs, spans, kind, taps of the largest
    span, extent of the least one; of every tile size."""
    outputs = (w.out_height, w.out_width)[axis]
    size = (w.in_height, w.in_width)[axis]
    table = np.zeros((outputs + 1, outputs, 7), np.int64)
    for tile in range(1, outputs + 1):
        kinds: dict[object, int] = {}
        for index, t in enumerate(axis_tiles(w.window, axis, size, outputs, tile)):
            relative = tuple((s.start - t.start, *s[1:]) for s in t.spans)
            kind = kinds.setdefault((t.extent, t.size, relative), len(kinds))
            pairs = sum(span.extent * span.taps for span in t.spans)
            largest = max(t.spans, key=lambda span: span.extent * span.taps, default=None)
            taps = 0 if largest is None else largest.taps
            least = min((span.extent for span in t.spans), default=0)
            table[tile, index] = (t.extent, t.size, pairs, len(t.spans), kind, taps, least)
    return table
