"""Compression of affine loop nests into instruction loops and micro-op tables.

A tile's work is a nest of up to six affine axes over (accumulator, input, weight) indices. A GEMM
or ALU instruction has two loops of its own; the other axes are unrolled into its micro-op table.
The choice of the two keeps the table short, under the pipeline's rule that an accumulator must not
recur within two micro-ops.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import HAZARD_DISTANCE
from compiler_core.units.vta.machine.isa import GEMM_FIELDS, MICRO_OP_FIELDS

DST_SHIFT, SRC_SHIFT, WGT_SHIFT = (MICRO_OP_FIELDS[name].low for name in ("dst", "src", "wgt"))

_LOOP_NAMES = (
    "iter_out",
    "iter_in",
    "dst_out",
    "dst_in",
    "src_out",
    "src_in",
    "wgt_out",
    "wgt_in",
)

MAX_TABLE = 1024
"""Longest micro-op table of one instruction: half the buffer, so that two can be resident."""


@dataclass(frozen=True, eq=False)
class MicroOpTable:
    """A micro-op table relative to a base, as packed words; compared by identity."""

    offsets: tuple[int, ...]


@lru_cache(maxsize=16384)
def _table(offsets: tuple[int, ...]) -> MicroOpTable:
    return MicroOpTable(offsets)


class Axis(NamedTuple):
    """One loop: its extent and the step of each index; ``dst = 0`` marks a reduction."""

    extent: int
    dst: int
    src: int
    wgt: int


@dataclass(frozen=True, eq=False)
class LoopNest:
    """One instruction's loops and its micro-op table relative to a base; compared by identity.

    Attributes:
        iter_out, iter_in: Instruction loops.
        dst_out, dst_in, src_out, src_in, wgt_out, wgt_in: Their factors.
        offsets: Packed micro-op words relative to the base, ``uint32`` values in a tuple.
        base: Packed offset of the instruction from the nest's base.
        table: Equal tables are one object: the builder keys them by identity.
        word: The loops' fields of the instruction word.
    """

    iter_out: int
    iter_in: int
    dst_out: int
    dst_in: int
    src_out: int
    src_in: int
    wgt_out: int
    wgt_in: int
    offsets: tuple[int, ...]
    base: int = 0
    table: MicroOpTable = field(init=False)
    word: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _table(self.offsets))
        word = sum(getattr(self, name) << GEMM_FIELDS[name].low for name in _LOOP_NAMES)
        object.__setattr__(self, "word", word)

    @property
    def executions(self) -> int:
        """Micro-op executions of the instruction."""
        return self.iter_out * self.iter_in * len(self.offsets)


def block_axes(blocks: int, points: int, interleave: int, src: int, wgt: int) -> tuple[Axis, ...]:
    """Accumulators of a tile, and one element of other operands for each of its blocks.

    Args:
        blocks, points: Of the tile.
        interleave: Blocks that lie side by side.
        src, wgt: Steps from one block to the next.
    """
    beside = Axis(interleave, 1, src, wgt)
    groups = Axis(blocks // interleave, points * interleave, src * interleave, wgt * interleave)
    every = Axis(points, interleave, 0, 0)
    return (groups, every) if interleave == 1 else (groups, beside, every)


def pack(dst: int, src: int, wgt: int = 0) -> int:
    """Packs indices as a micro-op word; packed words of disjoint ranges add up."""
    return dst << DST_SHIFT | src << SRC_SHIFT | wgt << WGT_SHIFT


@lru_cache(maxsize=4096)
def compress(axes: tuple[Axis, ...]) -> tuple[LoopNest, ...]:
    """Chooses instruction loops for a nest.

    Args:
        axes: The nest; order is free because accumulation commutes.

    Returns:
        The instructions, almost always one. Several where no choice of loops obeys the hazard rule
        or the table
        limit: then reduction axes are spread over instructions.
    """
    axes = tuple(axis for axis in axes if axis.extent > 1)
    choice = _choose(tuple(axis.extent for axis in axes), tuple(axis.dst != 0 for axis in axes))
    if choice is None:
        return _spread(axes)
    if choice.split is not None:
        axis = axes[choice.split]
        count = axis.extent // choice.factor
        steps = (axis.dst * choice.factor, axis.src * choice.factor, axis.wgt * choice.factor)
        axes = (*axes, Axis(count, *steps))
        axes = tuple(
            a._replace(extent=choice.factor) if i == choice.split else a for i, a in enumerate(axes)
        )
    still = Axis(1, 0, 0, 0)
    outer = axes[choice.outer] if choice.outer is not None else still
    inner = axes[choice.inner] if choice.inner is not None else still
    table = np.zeros(1, np.int64)
    for index in choice.table:
        table = (table[:, None] + _steps(axes[index])).reshape(-1)
    return (
        LoopNest(
            outer.extent,
            inner.extent,
            outer.dst,
            inner.dst,
            outer.src,
            inner.src,
            outer.wgt,
            inner.wgt,
            tuple(table.tolist()),
        ),
    )


def _steps(axis: Axis) -> npt.NDArray[np.int64]:
    return np.arange(axis.extent, dtype=np.int64) * pack(axis.dst, axis.src, axis.wgt)


def _spread(axes: tuple[Axis, ...]) -> tuple[LoopNest, ...]:
    reductions = [axis for axis in axes if axis.dst == 0]
    largest = max(reductions or axes, key=lambda axis: axis.extent)
    rest = list(axes)
    rest.remove(largest)
    step = pack(largest.dst, largest.src, largest.wgt)
    return tuple(
        replace(nest, base=nest.base + position * step)
        for position in range(largest.extent)
        for nest in compress(tuple(rest))
    )


class _Choice(NamedTuple):
    outer: int | None
    inner: int | None
    table: tuple[int, ...]
    split: int | None
    factor: int


@lru_cache(maxsize=4096)
def _choose(extents: tuple[int, ...], spatial: tuple[bool, ...]) -> _Choice | None:
    """Shortest table over all loop pairs, and over splits of one accumulator axis."""
    best: tuple[int, int] | None = None
    result: _Choice | None = None
    splits: list[tuple[int | None, int]] = [(None, 1)]
    for index, extent in enumerate(extents):
        if spatial[index]:
            splits += [(index, f) for f in range(2, min(extent, 17)) if extent % f == 0]
    for split, factor in splits:
        sizes, kinds = list(extents), list(spatial)
        if split is not None:
            sizes.append(sizes[split] // factor)
            sizes[split] = factor
            kinds.append(True)
        count = len(sizes)
        pairs: list[tuple[int | None, int | None]] = [(None, None)]
        pairs += [(None, i) for i in range(count)]
        pairs += list(permutations(range(count), 2))
        for outer, inner in pairs:
            rest = [i for i in range(count) if i not in (outer, inner)]
            length = 1
            for i in rest:
                length *= sizes[i]
            key = (length, split is not None)
            if length > MAX_TABLE or (best is not None and key >= best):
                continue
            table = [i for i in rest if not kinds[i]] + [i for i in rest if kinds[i]]
            sequence = [i for i in (outer, inner) if i is not None] + table
            if _distinct_run(sequence, sizes, kinds) >= HAZARD_DISTANCE:
                best = key
                result = _Choice(outer, inner, tuple(table), split, factor)
    return result


def _distinct_run(sequence: list[int], sizes: list[int], kinds: list[bool]) -> int:
    run = 1
    for index in reversed(sequence):
        if not kinds[index]:
            return run
        run *= sizes[index]
    return max(run, HAZARD_DISTANCE)
