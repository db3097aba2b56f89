"""The untuned schedule of a workload: the best of a coarse grid by a closed-form estimate, nothing
measured.

The estimate adds what the modules do and overlaps them where the slots allow it:
``max(compute, load) + prologue + exposed loads and stores``. It knows no bursts, fetch or port
conflicts; that is what measuring is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.legality.bound import direct_bound
from compiler_core.units.vta.legality.legality import (
    ConvBufferDemand,
    ConvScheduleBatch,
    conv_buffer_demand,
    fits,
    input_extents,
    violations,
)
from compiler_core.units.vta.machine.hardware import HAZARD_DISTANCE, VtaCore
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    MaxPoolSchedule,
    Schedule,
)
from compiler_core.units.vta.structure.conv_structure import (
    ConvStructure,
    bias_tiles,
    blocks,
    conv_structure,
    residual_needs_pass,
)
from compiler_core.units.vta.structure.fold import fold_workload, foldable
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts, tile_of

_INSTRUCTION_CYCLES = 10
"""Fixed cost of one compute instruction with its fetch, in the estimate."""

_TRANSFER_CYCLES = 26
"""Fixed cost of one LOAD, in the estimate."""

_SLOTS = (1, 2, 3, 4, 6, 8, 16, 32)

_TRIED = 64
"""Schedules of one loop order, those of least estimates, of which the first legal one is taken."""


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def even_tiles(extent: int) -> list[int]:
    """Tile sizes that cut an extent into parts as equal as can be: one per number of parts."""
    return sorted({-(-extent // parts) for parts in range(1, extent + 1)})


def _block_tiles(structure: ConvStructure, side_by_side: int) -> list[int]:
    """Tiles of output blocks: a run that recurs has to be cut into equal parts, and blocks that lie
    side by side stay together."""
    if side_by_side > 1:
        return [side_by_side * n for n in even_tiles(structure.run // side_by_side)]
    recurs = structure.run < structure.out_blocks
    return divisors(structure.run) if recurs else even_tiles(structure.run)


@lru_cache(maxsize=4096)
def default_schedule(workload: Workload, core: VtaCore) -> Schedule:
    """Chooses a schedule without measuring.

    Raises:
        InfeasibleError: No schedule of the grid fits.
    """
    if isinstance(workload, MaxPoolWorkload):
        return _default_max_pool(workload, core)
    points = workload.out_height * workload.out_width
    # A tile of the GEMM bias costs one cycle per output vector, the ALU bias two whatever its size.
    large = bias_tiles(workload.epilogue.bias_bits) > 2
    bias = BiasVariant.ALU if large else BiasVariant.GEMM
    if points == 1 and workload.epilogue.bias_bits and not residual_needs_pass(workload):
        bias = BiasVariant.LOAD
    # Small buffers may not hold the constants of the better one.
    for variant in dict.fromkeys((bias, BiasVariant.GEMM, BiasVariant.ALU)):
        best: tuple[float, ConvSchedule] | None = None
        for fold in (
            (FoldVariant.NONE, FoldVariant.COLUMNS) if foldable(workload) else (FoldVariant.NONE,)
        ):
            found = _default_conv(fold_workload(workload, fold), core, variant)
            if found is not None and (best is None or found[0] < best[0]):
                best = found[0], replace(found[1], fold=fold)
        if best is not None:
            return best[1]
    raise InfeasibleError(f"no schedule of {workload.operator} fits the buffers")


def _default_conv(
    workload: ConvWorkload, core: VtaCore, bias: BiasVariant
) -> tuple[float, ConvSchedule] | None:
    """The best of the grid with its estimate; ``None`` where nothing fits.

    The grid has an axis per decision: what depends on few of them is computed for few points.
    """
    structure = conv_structure(workload)
    reduction = 1 if structure.diagonal else structure.reduction
    grid = [
        np.array(values, np.int64)
        for values in (
            even_tiles(workload.out_height),
            even_tiles(workload.out_width),
            _block_tiles(structure, workload.interleave),
            even_tiles(reduction) if len(kernel_parts(workload)) == 1 else [1],
            _SLOTS[:5],
            _SLOTS,
            (1, 2),
        )
    ]
    height, width, out_blocks, in_blocks, inputs, weights, outputs = np.meshgrid(
        *grid, indexing="ij", sparse=True
    )
    batch = ConvScheduleBatch(height, width, out_blocks, in_blocks, inputs, weights, outputs, bias)
    demand = conv_buffer_demand(workload, batch)
    legal, shape = fits(demand, core.geometry), tuple(map(len, grid))
    best: tuple[float, ConvSchedule] | None = None
    for order in LoopOrder:
        estimate = estimate_cycles(workload, batch, demand, order, core)
        cycles = np.broadcast_to(np.where(legal, estimate, np.inf), shape).reshape(-1)
        for index in _ascending(cycles, _TRIED):
            at = np.unravel_index(index, shape)
            of_rows, of_columns, of_outputs, of_inputs, *slots = (
                int(values[place]) for values, place in zip(grid, at, strict=True)
            )
            schedule = ConvSchedule(
                of_rows,
                of_columns,
                of_outputs,
                of_inputs,
                order,
                slots[0],
                slots[1],
                slots[2],
                bias,
                EpilogueGranularity.TAIL,
            )
            if not violations(workload, schedule, core.geometry):
                if best is None or cycles[index] < best[0]:
                    best = float(cycles[index]), schedule
                break
    return best


def _ascending(values: npt.NDArray[np.float64], count: int) -> Iterator[int]:
    """Where the least finite values lie, the least first and of equal ones the first first; few are
    asked for, so that the others are not sorted."""
    first = int(np.argmin(values))
    if not np.isfinite(values[first]):
        return
    yield first
    count = min(count, len(values))
    bound = np.partition(values, count - 1)[count - 1]
    low = np.flatnonzero(np.isfinite(values) & (values <= bound))
    yield from low[np.argsort(values[low], kind="stable")][1:count].tolist()


def estimate_cycles(
    w: ConvWorkload,
    s: ConvScheduleBatch,
    demand: ConvBufferDemand,
    order: LoopOrder,
    core: VtaCore,
) -> Any:
    """Closed-form estimate of a batch of schedules, ``float64`` cycles in the shape to which the
    arrays of the batch are broadcast."""
    structure, width, port = conv_structure(w), core.timing.element_bytes, core.timing.port_bytes
    reduction = 1 if structure.diagonal else structure.reduction
    extra = bias_tiles(w.epilogue.bias_bits) if s.bias is BiasVariant.GEMM else 0
    rows, columns = -(-w.out_height // s.tile_height), -(-w.out_width // s.tile_width)
    images = w.batch * rows * columns
    channels = -(-structure.out_blocks // s.tile_out_blocks)
    parts = len(kernel_parts(w))
    steps = parts * -(-reduction // s.tile_in_blocks)
    vectors = w.batch * w.out_height * w.out_width * structure.out_blocks
    residual = 0 if w.epilogue.residual_bits is None else 1 + residual_needs_pass(w)
    bias = {BiasVariant.GEMM: extra, BiasVariant.ALU: 2, BiasVariant.LOAD: 8}[s.bias]
    compute: Any = direct_bound(w, core).compute + vectors * (1 + residual + bias)
    spans: Any = _spans(w, 0) * _spans(w, 1)
    # An accumulator must not recur at once: few of them take an instruction for each addend.
    few = s.tile_height * s.tile_width * s.tile_out_blocks < HAZARD_DISTANCE
    addends = tile_of(w)[0] * tile_of(w)[1] * (1 if structure.diagonal else s.tile_in_blocks)
    spans = np.where(few, np.maximum(spans, addends), spans)
    compute = compute + images * channels * _INSTRUCTION_CYCLES * (steps * spans + 5 + residual)

    inp_beats, wgt_beats = -(-width.inp // port), -(-width.wgt // port)
    size = (w.in_height, w.in_width)
    step = replace(w.window, kernel=tile_of(w))
    in_rows, in_columns = input_extents(step, size, s.tile_height, s.tile_width)
    in_rows = in_rows * parts
    passes: Any
    weight_passes: Any
    if order is LoopOrder.WEIGHT_STATIONARY:
        distinct = images * (channels * parts if structure.diagonal else steps)
        all_inputs = s.input_slots >= distinct
        passes = np.where(all_inputs | structure.diagonal, 1, channels)
        weight_passes = np.where((s.weight_slots >= steps) | (steps == 1), 1, images)
        kept_inputs, kept_weights = all_inputs, s.weight_slots > steps
    else:
        passes = np.where((s.input_slots >= steps) | structure.diagonal, 1, channels)
        all_weights = s.weight_slots >= channels * steps
        weight_passes = np.where(all_weights, 1, images)
        kept_inputs, kept_weights = s.input_slots > steps, all_weights
        if structure.diagonal:
            kept_inputs = s.input_slots >= images * channels * parts
    if w.uniform:
        weight_passes, kept_weights = np.ones_like(images), np.ones_like(images, dtype=bool)
    in_blocks = structure.out_blocks if structure.diagonal else structure.in_blocks
    input_loads = passes * images * (channels if structure.diagonal else 1) * steps
    input_loads = input_loads * np.where(columns > 1, s.tile_in_blocks, 1)
    input_cycles = passes * images * in_rows * in_columns * in_blocks * inp_beats
    weight_rows = 1 if w.uniform else sum(h - low for low, h in structure.ranges) * structure.taps
    rows_of_bias = 0 if w.operand else extra * structure.out_blocks
    weight_cycles: Any = weight_passes * (weight_rows + rows_of_bias) * wgt_beats
    weight_loads = weight_passes * channels * steps
    load = input_cycles + weight_cycles + (input_loads + weight_loads) * _TRANSFER_CYCLES
    load = load + residual * vectors * inp_beats

    single = ((s.input_slots == 1) & ~kept_inputs) | ((s.weight_slots == 1) & ~kept_weights)
    overlapped = np.where(single, compute + load, np.maximum(compute, load))
    input_tile = demand.input_tile * inp_beats + _TRANSFER_CYCLES
    weight_tile = demand.weight_tile * wgt_beats + _TRANSFER_CYCLES
    if order is LoopOrder.WEIGHT_STATIONARY:
        exposed = np.where(kept_weights, 0, (channels - 1) * weight_tile)
    else:
        exposed = np.where(kept_inputs, 0, (images - 1) * input_tile)
    stores = (-(-width.out // port) + 1) * demand.output_tile
    exposed = exposed + np.where(s.output_slots == 1, (images * channels - 1) * stores, 0)
    tail = stores / s.tile_out_blocks
    return overlapped + exposed + tail + input_tile + weight_tile


def _spans(w: ConvWorkload, axis: int) -> int:
    padded = w.window.pads[axis] + w.window.pads[axis + 2] > 0
    return min(3, w.window.kernel[axis]) if padded else 1


def _default_max_pool(workload: MaxPoolWorkload, core: VtaCore) -> MaxPoolSchedule:
    """The largest tile that fits, whole rows first; with two slots where windows leave room."""
    for inputs, outputs in ((2, 2), (1, 2), (1, 1)):
        for width in reversed(even_tiles(workload.out_width)):
            best: tuple[int, MaxPoolSchedule] | None = None
            for height in even_tiles(workload.out_height):
                for count in even_tiles(blocks(workload.channels)):
                    schedule = MaxPoolSchedule(height, width, count, inputs, outputs)
                    if not violations(workload, schedule, core.geometry):
                        points = height * width * count
                        if best is None or points > best[0]:
                            best = points, schedule
            if best is not None:
                return best[1]
    return MaxPoolSchedule(1, 1, 1, input_slots=1, output_slots=1)
