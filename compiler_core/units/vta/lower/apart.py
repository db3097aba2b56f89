"""Transfers of images whose pixels are apart: what cores of longer vectors read and write, too."""

from __future__ import annotations

from compiler_core.units.vta.lower.emit import ProgramBuilder
from compiler_core.units.vta.lower.placement import Image
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.isa import MemoryType

Extent = tuple[int, int]
"""First row or column, and their number."""


def load_apart(
    builder: ProgramBuilder,
    image: Image,
    element: int,
    size: tuple[int, int],
    blocks: range,
    rows: Extent,
    columns: Extent,
    sram: int,
    *,
    after_compute: int = NOTHING,
) -> int:
    """Loads a rectangle of inputs, densely; returns the last instruction.

    Args:
        builder: Where instructions go.
        image: Where it lies.
        element: First one of the sample.
        size: Height and width of the operand.
        blocks: Channel blocks.
        rows, columns: The rectangle.
        sram: First element on chip.
        after_compute: What has to be done before.
    """
    number = NOTHING
    for part in image.apart(size, blocks, rows, columns):
        number = builder.load(
            MemoryType.INP,
            sram + part.sram,
            element + part.element,
            1,
            part.pixels,
            part.stride,
            after_compute=after_compute,
        )
    return number


def store_apart(
    builder: ProgramBuilder,
    image: Image,
    element: int,
    size: tuple[int, int],
    blocks: range,
    rows: Extent,
    columns: Extent,
    sram: int,
    *,
    after_compute: int,
) -> int:
    """Stores a rectangle of outputs; arguments and result as of :func:`load_apart`."""
    number = NOTHING
    for part in image.apart(size, blocks, rows, columns):
        number = builder.store(
            sram + part.sram,
            element + part.element,
            1,
            part.pixels,
            part.stride,
            after_compute=after_compute,
        )
    return number
