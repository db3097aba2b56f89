"""Tiles of outputs, stored where they lie in their image."""

from __future__ import annotations

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.lower.apart import store_apart
from compiler_core.units.vta.lower.conv_tiles import OutputTile
from compiler_core.units.vta.lower.emit import MOST_STRIDE, ProgramBuilder
from compiler_core.units.vta.lower.placement import Image
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.structure.conv_structure import BLOCK


def store_tile(
    builder: ProgramBuilder,
    workload: ConvWorkload,
    image: Image,
    geometry: VtaGeometry,
    tile: OutputTile,
    part: tuple[int, int],
    at: int,
    written: int,
) -> int:
    """Stores some blocks of a tile; returns the last STORE.

    Args:
        builder: Where instructions go.
        workload: What is computed.
        image: Where its output lies.
        geometry: Element widths.
        tile: What was computed.
        part: First block within the tile, and their number.
        at: First accumulator.
        written: The last instruction that wrote them.
    """
    block, count = part
    height, width, rows, columns = (
        workload.out_height,
        workload.out_width,
        tile.rows,
        tile.columns,
    )
    if workload.interleave > 1:
        return _store_phases(builder, workload, image, geometry, tile, part, at, written)
    plane = image.plane(height, width)
    first = image.address + tile.sample * image.sample_bytes
    if image.pitch > 1:
        return store_apart(
            builder,
            image,
            first // geometry.element_bytes.out,
            (height, width),
            range(tile.block + block, tile.block + block + count),
            (rows.start, rows.extent),
            (columns.start, columns.extent),
            at,
            after_compute=written,
        )
    element = first // geometry.element_bytes.out + (tile.block + block) * plane
    element += rows.start * width + columns.start
    if tile.points == plane:
        return builder.store(at, element, count * plane, 1, 0, after_compute=written)
    if columns.extent == width and plane <= MOST_STRIDE:
        return builder.store(at, element, tile.points, count, plane, after_compute=written)
    number = NOTHING
    x_size, y_size = (tile.points, 1) if columns.extent == width else (columns.extent, rows.extent)
    for index in range(count):
        number = builder.store(
            at + index * tile.points,
            element + index * plane,
            x_size,
            y_size,
            width,
            after_compute=written,
        )
    return number


def _store_phases(
    builder: ProgramBuilder,
    workload: ConvWorkload,
    image: Image,
    geometry: VtaGeometry,
    tile: OutputTile,
    part: tuple[int, int],
    at: int,
    written: int,
) -> int:
    """As :func:`store_tile`, where the phases of a row lie side by side in the accumulators: every
    so many rows of the image are written whole."""
    size, (first, count), rows, columns = workload.interleave, part, tile.rows, tile.columns
    height, width = workload.out_height * size, workload.out_width * size
    blocks = workload.out_channels // (size * size * BLOCK)
    start = (image.address + tile.sample * image.sample_bytes) // geometry.element_bytes.out
    number = NOTHING
    for index in range(0, count, size):
        phase, block = divmod((tile.block + first + index) // size, blocks)
        pixel = (rows.start * size + phase) * width + columns.start * size
        number = builder.store(
            at + index * tile.points,
            start + block * image.plane(height, width) + pixel,
            columns.extent * size,
            rows.extent,
            size * width,
            after_compute=written,
        )
    return number
