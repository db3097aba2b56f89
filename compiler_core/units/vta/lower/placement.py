"""Where the arrays of one program lie in DRAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Strided(NamedTuple):
    """A transfer of vectors that are apart: its first SRAM and DRAM element, their number, and the
    elements from one to the next."""

    sram: int
    element: int
    pixels: int
    stride: int


@dataclass(frozen=True)
class Image:
    """An activation ``[N][C/16][H][W][16]`` in DRAM; part of a larger one where it is part of a
    concatenation, or of an operator that several cores share. With a pitch of ``p``,
    ``[N][C/(16 p)][H][W][p][16]``: what cores of longer vectors read and write.

    Attributes:
        address: Byte address of the first element.
        sample_bytes: Distance from one sample to the next.
        plane_elements: Distance from one channel block to the next, in elements of 16 lanes; None
            where the rows are all that the image has.
        pitch: Elements from one pixel to the next; between them are those of other blocks.
    """

    address: int
    sample_bytes: int
    plane_elements: int | None = None
    pitch: int = 1

    def plane(self, height: int, width: int) -> int:
        """Distance from one channel block to the next for an operand of that size, in elements."""
        return height * width if self.plane_elements is None else self.plane_elements

    def apart(
        self,
        size: tuple[int, int],
        blocks: range,
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> Iterator[Strided]:
        """Transfers of a rectangle where pixels are apart, in elements from the first of a sample;
        on chip it is dense, block after block.

        Args:
            size: Height and width of the operand.
            blocks: Channel blocks.
            rows, columns: First and number of each.
        """
        plane, width = self.plane(*size), size[1]
        (top, height), (left, extent) = rows, columns
        whole = extent == width
        for number, block in enumerate(blocks):
            start = block // self.pitch * self.pitch * plane + block % self.pitch
            for row in range(1 if whole else height):
                pixel = (top + row) * width + left
                yield Strided(
                    (number * height + row) * extent,
                    start + self.pitch * pixel,
                    height * extent if whole else extent,
                    self.pitch,
                )


@dataclass(frozen=True)
class ConvPlacement:
    """Byte addresses of the arrays of a convolution.

    Attributes:
        input, output, residual: Activations.
        weights: Packed weights (``pack.pack_weights``).
        bias: Accumulator rows for the ALU and LOAD variants of the bias.
        constant: The constant input vector of the GEMM variant.
        micro_ops: Where the micro-ops will be.
        shifts: Accumulator rows of shifts per output channel, where the workload has them.
        operand: The activation whose pixels are the weights, where it is one; then ``weights`` are
            those of the GEMM variant of the bias alone.
    """

    input: Image
    output: Image
    residual: Image | None
    weights: int
    bias: int
    constant: int
    micro_ops: int
    shifts: int = 0
    operand: Image | None = None


@dataclass(frozen=True)
class MaxPoolPlacement:
    """Byte addresses of the arrays of a max pool; ``identity`` is a weight tile with ones on its
    diagonal."""

    input: Image
    output: Image
    identity: int
    micro_ops: int
