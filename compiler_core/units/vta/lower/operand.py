"""Where the weights of a convolution are an activation: every 16 pixels of a block of channels are
a tile of weights, whose output channels are those pixels."""

from __future__ import annotations

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.lower.conv_tiles import OutputTile, ReductionTile
from compiler_core.units.vta.lower.emit import MOST_STRIDE, ProgramBuilder
from compiler_core.units.vta.lower.loops import pack
from compiler_core.units.vta.lower.placement import ConvPlacement
from compiler_core.units.vta.lower.requantize import contiguous
from compiler_core.units.vta.lower.slots import Slot
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import MemoryType
from compiler_core.units.vta.structure.conv_structure import blocks, conv_structure


def load_operand(
    builder: ProgramBuilder,
    workload: ConvWorkload,
    placement: ConvPlacement,
    geometry: VtaGeometry,
    tile: OutputTile,
    step: ReductionTile,
    slot: Slot,
) -> int:
    """Loads pixels of the operand as weights: for each block of input channels, the tiles of all
    output blocks. Returns the last LOAD."""
    image = placement.operand
    assert image is not None
    start = (image.address + tile.sample * image.sample_bytes) // geometry.element_bytes.wgt
    across = blocks(workload.out_channels // workload.groups)
    rows, columns = step.high - step.low, tile.blocks
    if conv_structure(workload).diagonal:  # each group is a block
        rows, start = 1, start + tile.block
    else:
        start += step.low * across + tile.block % across
    after, kind = slot.last_reader, MemoryType.WGT
    if rows == 1 or columns == across:
        return builder.load(kind, slot.base, start, rows * columns, after_compute=after)
    if across <= MOST_STRIDE:
        return builder.load(kind, slot.base, start, columns, rows, across, after_compute=after)
    number = NOTHING
    for row in range(rows):
        at, first = slot.base + row * columns, start + row * across
        number = builder.load(kind, at, first, columns, after_compute=after)
    return number


def shared_bias(
    builder: ProgramBuilder, tile: OutputTile, base: int, constant: int, count: int, after: int
) -> None:
    """Adds one constant to all outputs of a tile, from ``count`` tiles of weights of their own."""
    for index in range(count):
        nest = contiguous(tile.points * tile.blocks, source=0)
        builder.gemm(nest, pack(base, constant, index), after_load=after)
