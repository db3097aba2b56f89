"""How a convolution falls into blocks of 16 channels: what depends on the workload and not on the
schedule.

Notation: an output block reads a contiguous range of input blocks (its reduction range), because
groups are contiguous. Dense convolutions read all blocks, depthwise ones just their own; groups
that are no multiple of 16 channels become block-diagonal weight tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from compiler_core.tensor.workload import ConvWorkload

BLOCK = 16

BIAS_LANES = 15
BIAS_LANE_VALUE = 127
"""The constant vector of the GEMM bias is one lane of 1 and 15 lanes of 127, times weights of at
most 127."""


DIRECT_RESIDUAL_SHIFT = 6
"""What workloads say of a residual's shift that fits a weight as a power of two; larger ones need a
shifting ALU pass."""


def direct_residual_shift(weight_bits: int) -> int:
    """Largest residual shift that a weight of so many bits holds as a power of two."""
    return weight_bits - 2


def blocks(channels: int) -> int:
    """Blocks of 16 that hold so many channels."""
    return -(-channels // BLOCK)


def bias_tiles(bias_bits: int) -> int:
    """Weight tiles that represent constants of so many bits in the GEMM bias."""
    capacity = BIAS_LANES * BIAS_LANE_VALUE**2
    return -(-(1 << bias_bits) // capacity) if bias_bits else 0


@dataclass(frozen=True)
class ConvStructure:
    """Blocks of a convolution.

    Attributes:
        out_blocks, in_blocks: Channel blocks of output and input.
        taps: Kernel positions.
        ranges: Per output block, its reduction range of input blocks.
        diagonal: Output block b reads just input block b.
        run: Output blocks that share a reduction range; tiles of output blocks stay within such a
            run (all blocks where the convolution is dense or diagonal).
    """

    out_blocks: int
    in_blocks: int
    taps: int
    ranges: tuple[tuple[int, int], ...]
    diagonal: bool
    run: int

    @property
    def reduction(self) -> int:
        """Longest reduction range in blocks."""
        return max(high - low for low, high in self.ranges)

    def row_tiles(self, block: int) -> int:
        """Weight tiles of one output block, bias tiles not counted."""
        low, high = self.ranges[block]
        return (high - low) * self.taps


@lru_cache(maxsize=1024)
def conv_structure(workload: ConvWorkload) -> ConvStructure:
    """Derives the blocks of a workload."""
    out_blocks, in_blocks = blocks(workload.out_channels), blocks(workload.in_channels)
    taps = workload.window.kernel[0] * workload.window.kernel[1]
    group_out = workload.out_channels // workload.groups
    group_in = workload.in_channels // workload.groups
    ranges = []
    for block in range(out_blocks):
        first = block * BLOCK // group_out
        last = min(block * BLOCK + BLOCK - 1, workload.out_channels - 1) // group_out
        ranges.append((first * group_in // BLOCK, blocks((last + 1) * group_in)))
    diagonal = all(r == (b, b + 1) for b, r in enumerate(ranges))
    if diagonal or workload.groups == 1:
        run = out_blocks
    else:
        run = group_out // BLOCK if group_out % BLOCK == 0 and group_in % BLOCK == 0 else 1
    return ConvStructure(out_blocks, in_blocks, taps, tuple(ranges), diagonal, run)


@lru_cache(maxsize=256)
def weight_row_starts(workload: ConvWorkload, extra: int) -> tuple[int, ...]:
    """Position of each output block's weight tiles, in tiles, with ``extra`` bias tiles before each
    row."""
    structure = conv_structure(workload)
    starts, position = [], 0
    for block in range(structure.out_blocks):
        starts.append(position)
        position += structure.row_tiles(block) + extra
    return tuple(starts)


def residual_needs_pass(workload: ConvWorkload) -> bool:
    """Whether the residual's shift exceeds what an identity weight can express."""
    bits = workload.epilogue.residual_bits
    return bits is not None and bits > DIRECT_RESIDUAL_SHIFT
