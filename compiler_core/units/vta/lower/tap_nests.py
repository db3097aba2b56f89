"""GEMM instructions of one tile step: every valid (output, tap) pair once.

Border tiles fall into rectangles of outputs that share their valid taps. Each rectangle can be an
instruction of
its own, or rectangles are merged: their pairs are enumerated in one micro-op table and only what
they have in common is looped, which saves instructions where tiles are small.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.lower.loops import (
    DST_SHIFT,
    SRC_SHIFT,
    Axis,
    LoopNest,
    block_axes,
    compress,
    pack,
)
from compiler_core.units.vta.machine.hardware import HAZARD_DISTANCE
from compiler_core.units.vta.schedule.schedule import TapGrouping
from compiler_core.units.vta.structure.tiles import AxisTile

MAX_MERGED_TABLE = 512
"""Longest table that merging may produce: slots multiply it, and the buffer holds 2048."""

_STILL = Axis(1, 0, 0, 0)


class TapStep(NamedTuple):
    """What the instructions of a tile step depend on.

    Attributes:
        rows, columns: Output tile along both axes.
        out_blocks, in_blocks: Channel blocks of the step; ``in_blocks`` is 1 where it is diagonal.
        diagonal: Output block b reads input block b.
        pitch: Distance between output blocks in the weight tile, 0 where one weight serves all.
        reach: Distance between input blocks there; 0 where it is that of their taps.
        interleave: Output blocks that lie side by side in the accumulators.
    """

    rows: AxisTile
    columns: AxisTile
    out_blocks: int
    in_blocks: int
    diagonal: bool
    pitch: int
    reach: int = 0
    interleave: int = 1


class _Shared(Enum):
    """What rectangles have in common that are merged."""

    BLOCKS = "blocks"
    ROWS = "rows"
    """Those of one row span: their rows, too."""
    ROWS_AND_TAPS = "rows and taps"
    """The same, and their kernel rows are a loop as well."""


class _Rectangle(NamedTuple):
    """Axes of its own: taps and points; ``base`` is its packed offset."""

    row_taps: Axis
    column_taps: Axis
    rows: Axis
    columns: Axis
    base: int


@lru_cache(maxsize=8192)
def tap_nests(
    workload: ConvWorkload, step: TapStep, grouping: TapGrouping
) -> tuple[tuple[LoopNest, int], ...]:
    """Instructions of a step with their packed offsets from the step's base."""
    if grouping is TapGrouping.MERGED:
        everything = _rectangles(workload, step, range(len(step.rows.spans)))
        merged = _merge(workload, step, everything, _Shared.BLOCKS)
        if merged is not None:
            return ((merged, 0),)
    nests: list[tuple[LoopNest, int]] = []
    for index in range(len(step.rows.spans)):
        rectangles = _rectangles(workload, step, [index])
        merged = None
        if grouping is TapGrouping.MERGED:
            merged = _merge(workload, step, rectangles, _Shared.ROWS)
        nests += _separate(workload, step, rectangles) if merged is None else [(merged, 0)]
    return tuple(nests)


@lru_cache(maxsize=8192)
def row_nests(workload: ConvWorkload, step: TapStep) -> tuple[tuple[LoopNest, int], ...]:
    """As :func:`tap_nests`, an instruction per set of kernel rows where that is possible."""
    nests: list[tuple[LoopNest, int]] = []
    for index in range(len(step.rows.spans)):
        rectangles = _rectangles(workload, step, [index])
        merged = _merge(workload, step, rectangles, _Shared.ROWS_AND_TAPS)
        nests += _separate(workload, step, rectangles) if merged is None else [(merged, 0)]
    return tuple(nests)


def _separate(
    workload: ConvWorkload, step: TapStep, rectangles: list[_Rectangle]
) -> list[tuple[LoopNest, int]]:
    """Instructions of each rectangle for itself."""
    nests = []
    for r in rectangles:
        own = (r.row_taps, r.column_taps, r.rows)
        axes = (_inputs(workload, step), *own, *_outputs(step), r.columns)
        nests += [(nest, r.base) for nest in compress(axes)]
    return nests


def _inputs(workload: ConvWorkload, step: TapStep) -> Axis:
    taps = workload.window.kernel[0] * workload.window.kernel[1]
    plane = step.rows.size * step.columns.size
    return Axis(step.in_blocks, 0, plane, 0 if workload.uniform else step.reach or taps)


def _outputs(step: TapStep) -> tuple[Axis, ...]:
    plane = step.rows.size * step.columns.size
    points = step.rows.extent * step.columns.extent
    source = plane if step.diagonal else 0
    return block_axes(step.out_blocks, points, step.interleave, source, step.pitch)[:-1]


def _rectangles(
    workload: ConvWorkload, step: TapStep, row_spans: range | list[int]
) -> list[_Rectangle]:
    window, rows, columns = workload.window, step.rows, step.columns
    (stride_h, stride_w), (dil_h, dil_w) = window.strides, window.dilations
    width, kernel_w = columns.size, window.kernel[1]
    one, side = 0 if workload.uniform else 1, step.interleave
    result = []
    for row in (rows.spans[index] for index in row_spans):
        for column in columns.spans:
            dst = (row.start - rows.start) * columns.extent + column.start - columns.start
            dst *= side
            in_row = row.start * stride_h + row.tap * dil_h - window.pads[0] - rows.low
            in_column = column.start * stride_w + column.tap * dil_w - window.pads[1] - columns.low
            result.append(
                _Rectangle(
                    Axis(row.taps, 0, dil_h * width, kernel_w * one),
                    Axis(column.taps, 0, dil_w, one),
                    Axis(row.extent, columns.extent * side, stride_h * width, 0),
                    Axis(column.extent, side, stride_w, 0),
                    pack(dst, in_row * width + in_column, (row.tap * kernel_w + column.tap) * one),
                )
            )
    return result


def _merge(
    workload: ConvWorkload, step: TapStep, rectangles: list[_Rectangle], known: _Shared
) -> LoopNest | None:
    """One instruction for all rectangles, or None where its table would be too long or hazardous.

    What they share can be a loop, the rest is enumerated in the table.
    """
    if len(rectangles) < 2:
        return None
    shared = [_inputs(workload, step), *_outputs(step)]
    rows, taps = known is not _Shared.BLOCKS, known is _Shared.ROWS_AND_TAPS
    if rows:
        shared.append(rectangles[0].rows)
    if taps:
        shared.append(rectangles[0].row_taps)
    shared.sort(key=lambda axis: axis.extent)
    repeated = shared[:-2]
    parts = []
    for r in rectangles:
        enumerated = [r.column_taps, *([] if rows else [r.rows]), r.columns]
        if not taps:
            enumerated.insert(0, r.row_taps)
        parts.append(r.base + _enumerate(enumerated))
    table = np.concatenate(parts)
    for axis in repeated:
        table = (_enumerate([axis])[:, None] + table).reshape(-1)
    if len(table) > MAX_MERGED_TABLE or not _obeys_hazard_rule(table):
        return None
    inner, outer = shared[-1], shared[-2] if len(shared) > 1 else _STILL
    if inner.dst == 0:
        inner, outer = outer, inner
    return LoopNest(
        outer.extent,
        inner.extent,
        outer.dst,
        inner.dst,
        outer.src,
        inner.src,
        outer.wgt,
        inner.wgt,
        tuple(table.tolist()),
    )


def _enumerate(axes: list[Axis]) -> npt.NDArray[np.int64]:
    """Packed offsets of a nest, the last axis fastest."""
    table = np.zeros(1, np.int64)
    for axis in axes:
        steps = np.arange(axis.extent, dtype=np.int64) * pack(axis.dst, axis.src, axis.wgt)
        table = (table[:, None] + steps).reshape(-1)
    return table


def _obeys_hazard_rule(table: npt.NDArray[np.int64]) -> bool:
    """Whether no accumulator recurs too soon, the table's repetition by loops included."""
    dst = table >> DST_SHIFT & (1 << (SRC_SHIFT - DST_SHIFT)) - 1
    return all(bool((dst != np.roll(dst, shift)).all()) for shift in range(1, HAZARD_DISTANCE))
