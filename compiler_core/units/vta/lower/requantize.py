"""The ALU instructions between accumulators and store."""

from __future__ import annotations

from functools import lru_cache

from compiler_core.tensor.workload import Epilogue, Requantization
from compiler_core.units.vta.lower.emit import ProgramBuilder
from compiler_core.units.vta.lower.loops import LoopNest, block_axes, compress, pack
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.isa import AluOpcode


@lru_cache(maxsize=4096)
def contiguous(count: int, source: int = 1) -> LoopNest:
    """One micro-op over ``count`` consecutive accumulators."""
    return LoopNest(1, count, 0, 1, 0, source, 0, 0, (0,))


def requantize(
    builder: ProgramBuilder,
    epilogue: Epilogue,
    values: Requantization,
    at: int,
    blocks: int,
    points: int,
    shift_row: int,
    interleave: int = 1,
) -> int:
    """Shifts and clips accumulators; returns the last instruction.

    Args:
        builder: Where instructions go.
        epilogue: Passes that are needed.
        values: Of those passes.
        at: First accumulator.
        blocks, points: Blocks of channels, and output points of each.
        shift_row: Accumulator that holds the shifts of the first block's channels, where they
            differ between channels.
        interleave: Blocks that lie side by side.
    """
    nest, where, number = contiguous(points * blocks), pack(at, at), NOTHING
    if epilogue.channel_shift:
        for shifts in compress(block_axes(blocks, points, interleave, 1, 0)):
            number = builder.alu(AluOpcode.SHR, shifts, pack(at, shift_row))
    elif epilogue.shift:
        number = builder.alu(AluOpcode.SHR, nest, where, values.shift)
    if epilogue.clip_low:
        number = builder.alu(AluOpcode.MAX, nest, where, values.clip_min)
    if epilogue.clip_high:
        number = builder.alu(AluOpcode.MIN, nest, where, values.clip_max)
    if number == NOTHING:  # the store takes what an ALU or GEMM instruction wrote last
        number = builder.alu(AluOpcode.MAX, nest, where, -128)
    return number
