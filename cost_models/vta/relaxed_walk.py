"""Lower bounds of schedules by a walk over their tiles in which everything costs at most its cost.

The closed form (:mod:`cost_models.vta.schedule_bound`) knows the work of the compute module
alone. This walk also knows what waits for what: slots with their replacement, tokens as the builder
derives them, LOADs and STOREs with the bursts of their addresses, the hand-out of instructions. It
leaves out or underestimates what it does not know: contention on the port beyond sums, full queues,
micro-op tables where it is not sure how long they are.

Why the result is below the measured cycles: without contention, the time of every event is a
maximum of sums of costs over the events it waits for, so it can only fall when a cost falls or a
wait is left out. Contention makes a LOAD later, with one exception: a burst that joins waiting
bursts of another module does not wait for the memory once more, which spares it at most the latency
less two cycles. Each burst of another module can do that to one LOAD, so where they are few, so
many spared latencies are subtracted from the whole; else no LOAD is charged the latency.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.legality.legality import MAX_TILES, most_tiles
from compiler_core.units.vta.lower.emit import MOST_STRIDE
from compiler_core.units.vta.lower.layer import ALIGNMENT
from compiler_core.units.vta.lower.tap_nests import MAX_MERGED_TABLE
from compiler_core.units.vta.machine.hardware import TimingProfile, VtaCore
from compiler_core.units.vta.schedule.schedule import FoldVariant, MicroOpLoading, TapGrouping
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, Rows, position
from compiler_core.units.vta.structure.conv_structure import bias_tiles, conv_structure
from compiler_core.units.vta.structure.fold import fold_workload, foldable
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts
from compiler_core.units.vta.structure.tiles import axis_tiles
from cost_models.vta.schedule_bound import schedule_bounds

Ints = npt.NDArray[np.int64]


def walk_is_known(workload: Workload, core: VtaCore) -> bool:
    """Whether the walk knows every instruction of the workload's programs on that core."""
    timing, width = core.timing, core.timing.element_bytes
    latency = timing.memory_latency_cycles
    cut = min(timing.burst_boundary_bytes, timing.burst_beats * timing.port_bytes)
    return (
        isinstance(workload, ConvWorkload)
        and workload.groups == 1
        and all(_is_small(fold_workload(workload, fold)) for fold in _folds(workload))
        and not workload.uniform
        and not workload.operand
        and workload.interleave == 1
        and not conv_structure(workload).diagonal
        and workload.epilogue.residual_bits is None
        and not workload.epilogue.channel_shift
        and timing.profile is TimingProfile.RTL_PIPELINED
        and ALIGNMENT % cut == 0
        and cut & (cut - 1) == 0
        and all(b % timing.port_bytes == 0 for b in (width.inp, width.wgt, width.acc))
        and 16 % timing.port_bytes == 0
        # Whole bursts, those of fetch too, are longer than the latency that they could spare; the
        # first two batches are handed out without a wait.
        and timing.fetch_batch_instructions * 16 <= cut
        and timing.fetch_batch_instructions <= timing.queue_depth
        and timing.fetch_batch_instructions * 16 // timing.port_bytes >= latency
    )


def _folds(workload: ConvWorkload) -> tuple[FoldVariant, ...]:
    return tuple(FoldVariant) if foldable(workload) else (FoldVariant.NONE,)


def _is_small(workload: ConvWorkload) -> bool:
    """Whether kernels are walked whole, in no more steps than the walk has room for."""
    return len(kernel_parts(workload)) == 1 and most_tiles(workload) == MAX_TILES


def walked_bounds(
    workload: Workload, rows: Rows, core: VtaCore, limit: int | None = None
) -> npt.NDArray[np.int64]:
    """Least cycles of each schedule, ``int64[n]``; never below those of the closed form.

    Args:
        workload: What they schedule.
        rows: ``int64[n, columns]``, legal schedules.
        core: Where they run.
        limit: Bounds need not be higher than that, which saves time.
    """
    result = schedule_bounds(workload, rows, core)
    if not walk_is_known(workload, core):
        return result
    assert isinstance(workload, ConvWorkload)
    from cost_models.vta._relaxed_walk_kernel import relaxed_walk

    most = 1 << 60 if limit is None else limit
    for number, fold in enumerate(FoldVariant):
        chosen = np.flatnonzero((rows[:, ConvColumn.FOLD] == number) & (result < most))
        if len(chosen):
            folded = fold_workload(workload, fold)
            walked = np.zeros(len(chosen), np.int64)
            relaxed_walk(
                np.ascontiguousarray(rows[chosen]),
                most,
                _workload_numbers(folded),
                _machine_numbers(core),
                *_axis_tables(folded, 0),
                *_axis_tables(folded, 1),
                walked,
            )
            result[chosen] = np.maximum(result[chosen], walked)
    return result


def bounds_of_any_slots(
    workload: Workload, rows: Rows, core: VtaCore, limit: int | None = None
) -> npt.NDArray[np.int64]:
    """Like :func:`walked_bounds`, and valid for all slots, groupings of taps and ways to load
    micro-ops: what a row says of them is not read."""
    if walk_is_known(workload, core):
        rows = rows.copy()
        rows[:, [ConvColumn.INPUT_SLOTS, ConvColumn.WEIGHT_SLOTS, ConvColumn.OUTPUT_SLOTS]] = 0
        rows[:, ConvColumn.MICRO_OPS] = position(MicroOpLoading.PRELOAD)
        rows[:, ConvColumn.TAPS] = position(TapGrouping.MERGED)
    return walked_bounds(workload, rows, core, limit)


@lru_cache(maxsize=256)
def _workload_numbers(w: ConvWorkload) -> Ints:
    structure = conv_structure(w)
    numbers = (
        w.batch,
        w.out_height,
        w.out_width,
        w.in_height,
        w.in_width,
        structure.out_blocks,
        structure.reduction,
        structure.taps,
        bias_tiles(w.epilogue.bias_bits),
        w.epilogue.bias_bits,
        w.epilogue.passes,
        MOST_STRIDE,
    )
    return np.array(numbers, np.int64)


@lru_cache(maxsize=64)
def _machine_numbers(core: VtaCore) -> Ints:
    timing, costs = core.timing, core.timing.costs
    width, port = timing.element_bytes, timing.port_bytes
    cut = min(timing.burst_boundary_bytes, timing.burst_beats * port)
    numbers = (
        costs.gemm.per_micro_op,
        costs.gemm.fixed,
        costs.gemm_reset.per_micro_op,
        costs.gemm_reset.fixed,
        costs.alu_immediate.per_micro_op,
        costs.alu_immediate.fixed,
        costs.alu_tensor.per_micro_op,
        costs.alu_tensor.fixed,
        width.inp,
        width.wgt,
        width.acc,
        width.uop,
        width.out,
        port,
        cut.bit_length() - 1,
        timing.memory_latency_cycles,
        timing.fetch_batch_instructions,
        core.geometry.depth.uop,
        MAX_MERGED_TABLE,
        costs.finish,
    )
    return np.array(numbers, np.int64)


@lru_cache(maxsize=256)
def _axis_tables(w: ConvWorkload, axis: int) -> tuple[Ints, Ints]:
    """``int64[tile + 1, tiles, 6]``: extent, first input, input size, pairs, spans, kind; and
    ``int64[tile + 1, tiles, kernel, 3]``: extent, taps and first output of the spans; of every tile
    size."""
    outputs = (w.out_height, w.out_width)[axis]
    size = (w.in_height, w.in_width)[axis]
    table = np.zeros((outputs + 1, outputs, 6), np.int64)
    spans = np.zeros((outputs + 1, outputs, w.window.kernel[axis], 3), np.int64)
    for tile in range(1, outputs + 1):
        kinds: dict[object, int] = {}
        for index, t in enumerate(axis_tiles(w.window, axis, size, outputs, tile)):
            relative = tuple((s.start - t.start, *s[1:]) for s in t.spans)
            kind = kinds.setdefault((t.extent, t.size, relative), len(kinds))
            pairs = sum(span.extent * span.taps for span in t.spans)
            table[tile, index] = (t.extent, t.low, t.size, pairs, len(t.spans), kind)
            for number, span in enumerate(t.spans):
                spans[tile, index, number] = (span.extent, span.taps, span.start - t.start)
    return table, spans
