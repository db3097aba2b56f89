"""Residuals: what is loaded of them for a tile, and how it is added to the accumulators.

A residual that has one channel, row or column in place of the output's is spread: each vector is
loaded once and added as often as it is needed, and a tile of weights with its first column filled
adds a single channel to all lanes.
"""

from __future__ import annotations

from compiler_core.tensor.workload import ConvWorkload, Spread
from compiler_core.units.vta.lower.apart import load_apart
from compiler_core.units.vta.lower.conv_tiles import OutputTile
from compiler_core.units.vta.lower.emit import ProgramBuilder
from compiler_core.units.vta.lower.loops import Axis, LoopNest, compress
from compiler_core.units.vta.lower.placement import ConvPlacement
from compiler_core.units.vta.lower.requantize import contiguous
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import MemoryType

_FULL = Spread()


def residual_nests(workload: ConvWorkload, tile: OutputTile) -> tuple[LoopNest, ...]:
    """Adds the residual of one output block: each half of a vector by its tile of weights."""
    spread, halves = workload.spread, workload.halves
    if spread is not None:
        rows, columns = tile.rows.extent, tile.columns.extent
        width = 1 if spread.columns else columns
        return compress(
            (
                Axis(rows, columns, 0 if spread.rows else width, 0),
                Axis(columns, 1, 0 if spread.columns else 1, 0),
            )
        )
    if halves == 1:
        return (contiguous(tile.points, source=1),)
    return compress((Axis(tile.points, 1, halves, 0), Axis(halves, 0, 1, 1)))


def load_residual(
    builder: ProgramBuilder,
    workload: ConvWorkload,
    placement: ConvPlacement,
    geometry: VtaGeometry,
    tile: OutputTile,
    block: int,
    sram: int,
    after: int,
) -> int:
    """Loads the residual of one output block; returns the load.

    Args:
        builder: Where the instruction goes.
        workload: What it is for.
        placement: Where the residual lies.
        geometry: Of the machine.
        tile: Of the output.
        block: Of its channels.
        sram: First element.
        after: The last instruction that read what lies there.
    """
    image, spread, halves = placement.residual, workload.spread or _FULL, workload.halves
    assert image is not None
    height, width = spread.size(workload.out_height, workload.out_width)
    block = 0 if spread.channels else block
    top, rows = (0, 1) if spread.rows else (tile.rows.start, tile.rows.extent)
    left, columns = (0, 1) if spread.columns else (tile.columns.start, tile.columns.extent)
    first = image.address + tile.sample * image.sample_bytes
    if image.pitch > 1:
        return load_apart(
            builder,
            image,
            first // geometry.element_bytes.inp,
            (height, width),
            range(block, block + 1),
            (top, rows),
            (left, columns),
            sram,
            after_compute=after,
        )
    pixel = block * image.plane(height, width) + top * width + left
    element = first // geometry.element_bytes.inp + pixel * halves
    if columns == width:
        x_size, y_size = rows * columns * halves, 1
    else:
        x_size, y_size = columns * halves, rows
    return builder.load(
        MemoryType.INP, sram, element, x_size, y_size, width * halves, after_compute=after
    )
