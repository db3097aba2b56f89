"""Where the arrays of one program lie in DRAM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """An activation ``[N][C/16][H][W][16]`` in DRAM; a slice of a larger one where it is part of a
    concatenation.

    Attributes:
        address: Byte address of the first element.
        sample_bytes: Distance from one sample to the next.
    """

    address: int
    sample_bytes: int


@dataclass(frozen=True)
class ConvPlacement:
    """Byte addresses of the arrays of a convolution.

    Attributes:
        input, output, residual: Activations.
        weights: Packed weights (``pack.pack_weights``).
        bias: Accumulator rows for the ALU and LOAD variants of the bias.
        constant: The constant input vector of the GEMM variant.
        micro_ops: Where the micro-ops will be.
    """

    input: Image
    output: Image
    residual: Image | None
    weights: int
    bias: int
    constant: int
    micro_ops: int


@dataclass(frozen=True)
class MaxPoolPlacement:
    """Byte addresses of the arrays of a max pool; ``identity`` is a weight tile with ones on its
    diagonal."""

    input: Image
    output: Image
    identity: int
    micro_ops: int
