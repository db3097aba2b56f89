"""Where the arrays of one program lie in DRAM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """An activation ``[N][C/16][H][W][16]`` in DRAM; part of a larger one where it is part of a
    concatenation, or of an operator that several cores share.

    Attributes:
        address: Byte address of the first element.
        sample_bytes: Distance from one sample to the next.
        plane_elements: Distance from one channel block to the next, in elements of 16 lanes; None
            where the rows are all that the image has.
    """

    address: int
    sample_bytes: int
    plane_elements: int | None = None

    def plane(self, height: int, width: int) -> int:
        """Distance from one channel block to the next for an operand of that size, in elements."""
        return height * width if self.plane_elements is None else self.plane_elements


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
    """

    input: Image
    output: Image
    residual: Image | None
    weights: int
    bias: int
    constant: int
    micro_ops: int
    shifts: int = 0


@dataclass(frozen=True)
class MaxPoolPlacement:
    """Byte addresses of the arrays of a max pool; ``identity`` is a weight tile with ones on its
    diagonal."""

    input: Image
    output: Image
    identity: int
    micro_ops: int
