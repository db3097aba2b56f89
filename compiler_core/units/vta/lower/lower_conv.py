"""Lowers convolutions, dense, depthwise, grouped, average-pool, copy and add operators to VTA
programs.

Walk: output tiles (sample, rows, columns, output blocks) in the schedule's order, reduction tiles
innermost and in alternating direction, so that the tile at the turn is used twice. A kernel that is
larger than the buffers is walked in parts, each a reduction tile of its own. Every tile of inputs
and weights goes through a :class:`SlotPool`; the builder derives all tokens from the loads, uses
and stores of the slots.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.tensor.workload import ConvWorkload, Requantization
from compiler_core.units.vta.legality.legality import (
    RESIDUAL_SLOTS,
    conv_buffer_demand,
    require_legal,
)
from compiler_core.units.vta.lower.apart import load_apart
from compiler_core.units.vta.lower.conv_tiles import OutputTile, ReductionTile, output_tiles
from compiler_core.units.vta.lower.emit import MOST_STRIDE, LoweredProgram, ProgramBuilder
from compiler_core.units.vta.lower.loops import LoopNest, block_axes, compress, pack
from compiler_core.units.vta.lower.operand import load_operand, shared_bias
from compiler_core.units.vta.lower.placement import ConvPlacement
from compiler_core.units.vta.lower.requantize import contiguous, requantize
from compiler_core.units.vta.lower.residual import load_residual, residual_nests
from compiler_core.units.vta.lower.slots import Slot, SlotPool, streams
from compiler_core.units.vta.lower.store_tile import store_tile
from compiler_core.units.vta.lower.tap_nests import TapStep, tap_nests
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import AluOpcode, MemoryType
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    MicroOpLoading,
)
from compiler_core.units.vta.structure.conv_structure import (
    ConvStructure,
    bias_tiles,
    conv_structure,
    direct_residual_shift,
    residual_needs_pass,
    weight_row_starts,
)
from compiler_core.units.vta.structure.fold import unfold
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts, part_workload
from compiler_core.units.vta.structure.tiles import AxisTile, axis_tile


def lower_conv(
    workload: ConvWorkload,
    schedule: ConvSchedule,
    requantization: Requantization,
    placement: ConvPlacement,
    geometry: VtaGeometry,
) -> LoweredProgram:
    """Lowers one convolution.

    Args:
        workload: What to compute.
        schedule: How.
        requantization: Values of the epilogue.
        placement: DRAM addresses, each a multiple of its element's bytes; the input is the folded
            one where the schedule folds.
        geometry: Buffers and element widths.

    Raises:
        InfeasibleError: The schedule does not fit, with the reason.
    """
    require_legal(workload, schedule, geometry)
    workload, schedule = unfold(workload, schedule)
    return _ConvLowering(workload, schedule, requantization, placement, geometry).run()


class _ConvLowering:
    def __init__(
        self,
        workload: ConvWorkload,
        schedule: ConvSchedule,
        requantization: Requantization,
        placement: ConvPlacement,
        geometry: VtaGeometry,
    ) -> None:
        self.w, self.s, self.q, self.p, self.g = (
            workload,
            schedule,
            requantization,
            placement,
            geometry,
        )
        self.structure: ConvStructure = conv_structure(workload)
        self.with_bias = workload.epilogue.bias_bits > 0
        gemm_bias = self.with_bias and schedule.bias is BiasVariant.GEMM
        self.extra = bias_tiles(workload.epilogue.bias_bits) if gemm_bias else 0
        self.row_starts = weight_row_starts(workload, self.extra)
        self.builder = ProgramBuilder(
            placement.micro_ops // geometry.element_bytes.uop,
            geometry.depth.uop,
            preload=schedule.micro_ops is MicroOpLoading.PRELOAD,
        )
        self.parts = kernel_parts(workload)
        self.part_workloads = [part_workload(workload, part) for part in self.parts]
        self.tiles = output_tiles(workload, schedule)
        self.steps = [list(self._reduction(t, i % 2 == 1)) for i, t in enumerate(self.tiles)]
        self._allocate()

    def _reduction(self, tile: OutputTile, backwards: bool) -> Iterator[ReductionTile]:
        """Reduction tiles: ranges of input blocks, and parts of a large kernel; a diagonal tile has
        just one range."""
        count = tile.high - tile.low if self.structure.diagonal else self.s.tile_in_blocks
        steps = [
            (start, part)
            for start in range(tile.low, tile.high, count)
            for part in range(len(self.parts))
        ]
        for start, part in reversed(steps) if backwards else steps:
            rows, columns = self._read(tile, part)
            first = start == tile.low and part == 0
            if len(self.parts) == 1 or first or rows.size * columns.size:
                yield ReductionTile(start, min(start + count, tile.high), part, rows, columns)

    def _read(self, tile: OutputTile, part: int) -> tuple[AxisTile, AxisTile]:
        """The input that a part of the kernel reads for a tile, and its valid taps."""
        if len(self.parts) == 1:
            return tile.rows, tile.columns
        window, rows, columns = self.part_workloads[part].window, tile.rows, tile.columns
        return (
            axis_tile(window, 0, self.w.in_height, rows.start, rows.extent),
            axis_tile(window, 1, self.w.in_width, columns.start, columns.extent),
        )

    def _allocate(self) -> None:
        demand = conv_buffer_demand(self.w, self.s)
        self.constant_input = 0
        input_base = demand.bias_inputs
        input_uses = [
            (t.sample, t.rows.start, t.columns.start, step.low, step.high, step.part)
            for t, steps in zip(self.tiles, self.steps, strict=True)
            for step in steps
        ]
        self.inputs = SlotPool(
            input_base, self.s.input_slots, int(demand.input_tile), input_uses, streamed=True
        )
        weight_uses = [
            0
            if self.w.uniform
            else (t.block, step.low, step.part, t.sample if self.w.operand else 0)
            for t, steps in zip(self.tiles, self.steps, strict=True)
            for step in steps
        ]
        self.weights = SlotPool(
            demand.identity_weights,
            self.s.weight_slots,
            demand.weight_tile,
            weight_uses,
            streamed=streams(weight_uses, self.s.weight_slots),
        )
        residual_base = input_base + self.s.input_slots * int(demand.input_tile)
        one = self.w.spread is not None and self.w.spread.channels
        residual_uses = [
            (i, 0 if one else b) for i, t in enumerate(self.tiles) for b in range(t.blocks)
        ]
        self.residuals = SlotPool(
            residual_base, RESIDUAL_SLOTS, demand.residual_tile, residual_uses
        )
        self.bias_row = 0
        self.shift_row = demand.bias_accumulators
        self.output_base = demand.bias_accumulators + demand.shift_accumulators
        self.output_size = demand.output_tile
        self.stored = [NOTHING] * self.s.output_slots

    def run(self) -> LoweredProgram:
        self._constants()
        for index, (tile, steps) in enumerate(zip(self.tiles, self.steps, strict=True)):
            slot = index % self.s.output_slots
            base = self.output_base + slot * self.output_size
            self._start(tile, base, self.stored[slot])
            for step in steps:
                self._accumulate(tile, step, base)
            self.stored[slot] = self._finish(tile, base, index + 1 == len(self.tiles))
        return self.builder.build()

    def _constants(self) -> None:
        bytes_of = self.g.element_bytes
        self.constant_load = self.identity_load = NOTHING
        if self.extra:
            self.constant_load = self.builder.load(
                MemoryType.INP, self.constant_input, self.p.constant // bytes_of.inp, 1
            )
        shared = self.w.halves if self.w.epilogue.residual_bits is not None else 0
        if self.w.operand:
            shared = self.extra
        if shared:
            self.identity_load = self.builder.load(
                MemoryType.WGT, 0, self.p.weights // bytes_of.wgt, shared
            )
        if self.w.epilogue.channel_shift:
            row = self.p.shifts // bytes_of.acc
            self.builder.load_accumulators(self.shift_row, row, self.structure.out_blocks)
        if self.with_bias and self.s.bias is BiasVariant.ALU:
            self.builder.load_accumulators(
                self.bias_row, self.p.bias // bytes_of.acc, self.structure.out_blocks
            )

    def _start(self, tile: OutputTile, base: int, stored: int) -> None:
        """Clears the accumulators or loads the bias, and adds a residual that has to be shifted
        far."""
        if self.with_bias and self.s.bias is BiasVariant.LOAD:
            row = self.p.bias // self.g.element_bytes.acc + tile.block
            self.builder.load_accumulators(base, row, tile.blocks, after_store=stored)
        else:
            nest = contiguous(tile.points * tile.blocks)
            self.builder.gemm(nest, pack(base, 0), reset=True, after_store=stored)
        if self.w.epilogue.residual_bits is not None:
            self._residual(tile, base)
            extra_shift = self.q.residual_shift - direct_residual_shift(self.g.weight_bits)
            if residual_needs_pass(self.w):
                nest = contiguous(tile.points * tile.blocks)
                self.builder.alu(
                    AluOpcode.SHR, nest, pack(base, base), immediate=min(0, -extra_shift)
                )
        if self.with_bias and self.s.bias is BiasVariant.ALU:
            axes = block_axes(tile.blocks, tile.points, self.w.interleave, 1, 0)
            for nest in compress(axes):
                self.builder.alu(AluOpcode.ADD, nest, pack(base, self.bias_row + tile.block))

    def _residual(self, tile: OutputTile, base: int) -> None:
        for position in range(tile.blocks):
            slot, resident = self.residuals.acquire()
            if not resident:
                slot.loaded = load_residual(
                    self.builder,
                    self.w,
                    self.p,
                    self.g,
                    tile,
                    tile.block + position,
                    slot.base,
                    slot.last_reader,
                )
            after = max(slot.loaded, self.identity_load)
            for nest in residual_nests(self.w, tile):
                slot.last_reader = self.builder.gemm(
                    nest, pack(base + position * tile.points, slot.base), after_load=after
                )

    def _accumulate(self, tile: OutputTile, step: ReductionTile, base: int) -> None:
        low, high = step.low, step.high
        first = low == tile.low and step.part == 0
        source, in_slot = self.inputs.acquire()
        if not in_slot and step.rows.size * step.columns.size:
            source.loaded = self._load_inputs(tile, step, source)
        weight, in_slot = self.weights.acquire()
        if not in_slot:
            weight.loaded = self._load_weights(tile, step, first, weight)
        loaded = max(source.loaded, weight.loaded)
        taps = self.parts[step.part].taps
        row = 1 if self.w.uniform else (high - low if not self.structure.diagonal else 1) * taps
        pitch = row + (self.extra if first and not self.w.operand else 0)
        if first and self.extra and self.w.operand:
            after = max(self.constant_load, self.identity_load)
            shared_bias(self.builder, tile, base, self.constant_input, self.extra, after)
        elif first and self.extra:
            weight.last_reader = self._add_bias(tile, base, weight, pitch)
        # The one weight of a uniform operator stays behind the bias, whichever step it is.
        skipped = self.extra if (first or self.w.uniform) and not self.w.operand else 0
        for nest, packed in self._taps(tile, step, 0 if self.w.uniform else pitch):
            at = pack(base, source.base, weight.base + skipped)
            source.last_reader = weight.last_reader = self.builder.gemm(
                nest, at + packed, after_load=loaded
            )

    def _add_bias(self, tile: OutputTile, base: int, weight: Slot, pitch: int) -> int:
        number = NOTHING
        after = max(self.constant_load, weight.loaded)
        for index in range(self.extra):
            step = 0 if self.w.uniform else pitch
            for nest in compress(block_axes(tile.blocks, tile.points, self.w.interleave, 0, step)):
                at = pack(base, self.constant_input, weight.base + index)
                number = self.builder.gemm(nest, at, after_load=after)
        return number

    def _taps(
        self, tile: OutputTile, step: ReductionTile, pitch: int
    ) -> tuple[tuple[LoopNest, int], ...]:
        in_blocks = 1 if self.structure.diagonal else step.high - step.low
        taps = TapStep(
            step.rows, step.columns, tile.blocks, in_blocks, self.structure.diagonal, pitch
        )
        if self.w.operand:
            taps = taps._replace(pitch=1, reach=tile.blocks)
        if self.w.interleave > 1:
            taps = taps._replace(interleave=self.w.interleave)
        return tap_nests(self.part_workloads[step.part], taps, self.s.taps)

    def _load_inputs(self, tile: OutputTile, step: ReductionTile, slot: Slot) -> int:
        low, high, rows, columns = step.low, step.high, step.rows, step.columns
        height, width = self.w.in_height, self.w.in_width
        plane, after = self.p.input.plane(height, width), slot.last_reader
        image = self.p.input.address + tile.sample * self.p.input.sample_bytes
        if self.p.input.pitch > 1:
            return load_apart(
                self.builder,
                self.p.input,
                image // self.g.element_bytes.inp,
                (height, width),
                range(low, high),
                (rows.low, rows.size),
                (columns.low, columns.size),
                slot.base,
                after_compute=after,
            )
        element = image // self.g.element_bytes.inp + low * plane + rows.low * width + columns.low
        count, size = high - low, rows.size * columns.size
        if columns.size == width and (size == plane or count == 1):
            return self.builder.load(
                MemoryType.INP, slot.base, element, count * size, after_compute=after
            )
        if columns.size == width and plane <= MOST_STRIDE:
            return self.builder.load(
                MemoryType.INP, slot.base, element, size, count, plane, after_compute=after
            )
        number = NOTHING
        x_size, y_size = (size, 1) if columns.size == width else (columns.size, rows.size)
        for index in range(count):
            number = self.builder.load(
                MemoryType.INP,
                slot.base + index * size,
                element + index * plane,
                x_size,
                y_size,
                width,
                after_compute=after,
            )
        return number

    def _load_weights(self, tile: OutputTile, step: ReductionTile, first: bool, slot: Slot) -> int:
        start = self.p.weights // self.g.element_bytes.wgt
        start += self.w.halves if self.w.epilogue.residual_bits is not None else 0
        after = slot.last_reader
        if self.w.operand:
            return load_operand(self.builder, self.w, self.p, self.g, tile, step, slot)
        if self.w.uniform:
            count = 1 + self.extra
            return self.builder.load(MemoryType.WGT, slot.base, start, count, after_compute=after)
        part = self.parts[step.part]
        reduction = 1 if self.structure.diagonal else step.high - step.low
        # Parts are whole rows of the kernel or runs of one: their weights lie together.
        before = (step.low - tile.low) * self.structure.taps
        before += part.row * self.w.window.kernel[1] + part.column
        skipped = 0 if first else self.extra + before
        length = reduction * part.taps + (self.extra if first else 0)
        starts = [start + self.row_starts[tile.block + i] + skipped for i in range(tile.blocks)]
        stride = starts[1] - starts[0] if tile.blocks > 1 else length
        if stride == length:
            return self.builder.load(
                MemoryType.WGT, slot.base, starts[0], tile.blocks * length, after_compute=after
            )
        if stride <= MOST_STRIDE:
            return self.builder.load(
                MemoryType.WGT,
                slot.base,
                starts[0],
                length,
                tile.blocks,
                stride,
                after_compute=after,
            )
        number = NOTHING
        for index, begin in enumerate(starts):
            number = self.builder.load(
                MemoryType.WGT, slot.base + index * length, begin, length, after_compute=after
            )
        return number

    def _finish(self, tile: OutputTile, base: int, last: bool) -> int:
        """Requantizes and stores; returns the last STORE."""
        granularity = self.s.epilogue
        by_block = granularity is EpilogueGranularity.BLOCK or (
            granularity is EpilogueGranularity.TAIL and last
        )
        number = NOTHING
        step = self.w.interleave if by_block else tile.blocks
        for block in range(0, tile.blocks, step):
            at = base + block * tile.points
            written = self._requantize(tile, tile.block + block, step, at)
            number = store_tile(
                self.builder, self.w, self.p.output, self.g, tile, (block, step), at, written
            )
        return number

    def _requantize(self, tile: OutputTile, block: int, count: int, at: int) -> int:
        row = self.shift_row + block
        return requantize(
            self.builder,
            self.w.epilogue,
            self.q,
            at,
            count,
            tile.points,
            shift_row=row,
            interleave=self.w.interleave,
        )
