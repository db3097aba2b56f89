"""Lowers depthwise convolutions that stay on chip to VTA programs, step by step as their schedule
says.

Accumulators hold a row of biases, then all outputs block by block, then the shifts of the channels
where they differ. They are cleared for nothing: the zeros are the padding of the LOAD that brings
the biases, which the machine writes while the data are still on their way. What no padding reaches
is cleared by an instruction of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from compiler_core.tensor.workload import ConvWorkload, Requantization
from compiler_core.units.vta.legality.legality import require_legal
from compiler_core.units.vta.lower.apart import load_apart, store_apart
from compiler_core.units.vta.lower.emit import LoweredProgram, Padding, ProgramBuilder
from compiler_core.units.vta.lower.loops import Axis, compress, pack
from compiler_core.units.vta.lower.placement import ConvPlacement
from compiler_core.units.vta.lower.requantize import contiguous, requantize
from compiler_core.units.vta.lower.tap_nests import TapStep, row_nests, tap_nests
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import AluOpcode, MemoryType
from compiler_core.units.vta.schedule.resident_schedule import (
    ResidentSchedule,
    Step,
    StepKind,
    parse_steps,
)
from compiler_core.units.vta.schedule.schedule import TapGrouping
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.tiles import axis_tile

_MOST_PADDING = 15


class Clearing(NamedTuple):
    """How the accumulators are cleared.

    Attributes:
        padding: Of the LOAD of the biases.
        cleared: Outputs that it clears.
        elements: Accumulators that it writes.
    """

    padding: Padding
    cleared: int
    elements: int


@lru_cache(maxsize=256)
def clearing(biases: int, outputs: int, depth: int) -> Clearing:
    """The cheapest padding that clears all outputs behind the biases, or else as many as it can.

    Args:
        biases: Elements of the row.
        outputs: Accumulators behind it that have to be zero.
        depth: Accumulators that there are.
    """
    sizes = range(_MOST_PADDING + 1)
    found = []
    for before in sizes:
        for after in sizes:
            for rows in sizes:
                elements = (before + biases + after) * (rows + 1)
                cleared = min(elements - before - biases, outputs)
                if elements <= depth and before + biases + outputs <= depth:
                    found.append((-cleared, elements, Padding(before, after, rows)))
    cleared, elements, padding = min(found)
    return Clearing(padding, -cleared, elements)


def lower_resident(
    workload: ConvWorkload,
    schedule: ResidentSchedule,
    requantization: Requantization,
    placement: ConvPlacement,
    geometry: VtaGeometry,
) -> LoweredProgram:
    """Lowers one depthwise convolution.

    Args:
        workload: What to compute.
        schedule: In which order.
        requantization: Values of the epilogue.
        placement: DRAM addresses, each a multiple of its element's bytes.
        geometry: Buffers and element widths.

    Raises:
        InfeasibleError: The schedule does not fit the workload, or the workload the buffers, with
            the reason.
    """
    require_legal(workload, schedule, geometry)
    return _ResidentLowering(workload, requantization, placement, geometry).run(schedule)


class _ResidentLowering:
    def __init__(
        self,
        workload: ConvWorkload,
        requantization: Requantization,
        placement: ConvPlacement,
        geometry: VtaGeometry,
    ) -> None:
        self.w, self.q, self.p, self.bytes = (
            workload,
            requantization,
            placement,
            geometry.element_bytes,
        )
        structure = conv_structure(workload)
        self.blocks, self.taps = structure.out_blocks, structure.taps
        self.points = workload.out_height * workload.out_width
        self.plane = workload.in_height * workload.in_width
        self.clearing = clearing(self.blocks, self.blocks * self.points, geometry.depth.acc)
        self.bias_row = self.clearing.padding.before
        self.outputs = self.bias_row + self.blocks
        self.shift_row = self.outputs + self.blocks * self.points
        self.columns = axis_tile(workload.window, 1, workload.in_width, 0, workload.out_width)
        self.builder = ProgramBuilder(
            placement.micro_ops // self.bytes.uop, geometry.depth.uop, preload=True
        )

    def run(self, schedule: ResidentSchedule) -> LoweredProgram:
        """The program."""
        self.waiting = list(reversed(parse_steps(schedule.loads)))
        self.weights: dict[int, int] = {}
        self.inputs: dict[tuple[int, int], int] = {}
        self._clear()
        for step in parse_steps(schedule.steps):
            if step.kind is StepKind.MICRO_OPS:
                self.builder.load_micro_ops()
            elif step.kind is StepKind.BIAS:
                self._add_bias(step)
            elif step.kind is StepKind.REQUANTIZE:
                self._store(step, self._requantize(step))
            else:
                self._multiply(step)
        return self.builder.build()

    def _clear(self) -> None:
        self.builder.load_accumulators(
            0, self.p.bias // self.bytes.acc, self.blocks, padding=self.clearing.padding
        )
        left = self.blocks * self.points - self.clearing.cleared
        if left:
            nest = contiguous(left)
            self.builder.gemm(nest, pack(self.outputs + self.clearing.cleared, 0), reset=True)
        if self.w.epilogue.channel_shift:
            row = self.p.shifts // self.bytes.acc
            self.builder.load_accumulators(self.shift_row, row, self.blocks)

    def _rows(self, step: Step) -> tuple[int, int]:
        """Rows of outputs that a step is about."""
        return step.rows or (0, self.w.out_height)

    def _first_output(self, step: Step) -> int:
        return self.outputs + step.block * self.points + self._rows(step)[0] * self.w.out_width

    def _add_bias(self, step: Step) -> None:
        axes = (Axis(step.blocks, self.points, 1, 0), Axis(self.points, 1, 0, 0))
        at = pack(self._first_output(step), self.bias_row + step.block)
        for nest in compress(axes):
            self.builder.alu(AluOpcode.ADD, nest, at)

    def _multiply(self, step: Step) -> None:
        low, high = self._rows(step)
        rows = axis_tile(self.w.window, 0, self.w.in_height, low, high - low)
        after = self._loaded(step, rows.low, rows.low + rows.size)
        taps = TapStep(rows, self.columns, step.blocks, 1, True, self.taps)
        if step.kind is StepKind.TAPS_BY_ROWS:
            nests = row_nests(self.w, taps)
        else:
            nests = tap_nests(self.w, taps, TapGrouping.RECTANGLES)
        source = step.block * self.plane + rows.low * self.w.in_width
        base = pack(self._first_output(step), source, step.block * self.taps)
        for nest, offset in nests:
            self.builder.gemm(nest, base + offset, after_load=after)

    def _loaded(self, step: Step, low: int, high: int) -> int:
        """Issues the loads up to the last one that a step needs, and names that."""
        blocks = range(step.block, step.block + step.blocks)
        needed = [(block, row) for block in blocks for row in range(low, high)]
        while not all(block in self.weights for block in blocks) or not all(
            key in self.inputs for key in needed
        ):
            self._load(self.waiting.pop())
        transfers = [self.weights[block] for block in blocks] + [self.inputs[k] for k in needed]
        return max(transfers)

    def _load(self, step: Step) -> None:
        blocks = range(step.block, step.block + step.blocks)
        if step.kind is StepKind.WEIGHTS:
            first = step.block * self.taps
            number = self.builder.load(
                MemoryType.WGT,
                first,
                self.p.weights // self.bytes.wgt + first,
                step.blocks * self.taps,
            )
            self.weights.update(dict.fromkeys(blocks, number))
            return
        low, high = step.rows or (0, self.w.in_height)
        if self.p.input.pitch > 1:
            self._load_apart(blocks, low, high)
            return
        pitch = self.p.input.plane(self.w.in_height, self.w.in_width)
        source = self.p.input.address // self.bytes.inp + step.block * pitch
        sram, size = step.block * self.plane, (high - low) * self.w.in_width
        if pitch == self.plane:
            count, rows, pitch = step.blocks * size, 1, 0
        else:
            count, rows = size, step.blocks
        source, sram = source + low * self.w.in_width, sram + low * self.w.in_width
        number = self.builder.load(MemoryType.INP, sram, source, count, rows, pitch)
        self.inputs.update({(b, row): number for b in blocks for row in range(low, high)})

    def _load_apart(self, blocks: range, low: int, high: int) -> None:
        """Inputs whose pixels are apart, a block after the other."""
        image, size = self.p.input, (self.w.in_height, self.w.in_width)
        start = image.address // self.bytes.inp
        for block in blocks:
            number = load_apart(
                self.builder,
                image,
                start,
                size,
                range(block, block + 1),
                (low, high - low),
                (0, self.w.in_width),
                block * self.plane + low * self.w.in_width,
            )
            self.inputs.update({(block, row): number for row in range(low, high)})

    def _requantize(self, step: Step) -> int:
        low, high = self._rows(step)
        points = (high - low) * self.w.out_width
        return requantize(
            self.builder,
            self.w.epilogue,
            self.q,
            self._first_output(step),
            step.blocks,
            points,
            self.shift_row + step.block,
        )

    def _store(self, step: Step, written: int) -> None:
        low, high = self._rows(step)
        image, first = self.p.output, self._first_output(step)
        if image.pitch > 1:
            for block in range(step.block, step.block + step.blocks):
                store_apart(
                    self.builder,
                    image,
                    image.address // self.bytes.out,
                    (self.w.out_height, self.w.out_width),
                    range(block, block + 1),
                    (low, high - low),
                    (0, self.w.out_width),
                    first + (block - step.block) * self.points,
                    after_compute=written,
                )
            return
        pitch = self.p.output.plane(self.w.out_height, self.w.out_width)
        element = self.p.output.address // self.bytes.out + step.block * pitch
        element += low * self.w.out_width
        size = (high - low) * self.w.out_width
        if pitch == self.points:
            count, rows, pitch = step.blocks * size, 1, 0
        else:
            count, rows = size, step.blocks
        at = self._first_output(step)
        self.builder.store(at, element, count, rows, pitch, after_compute=written)
