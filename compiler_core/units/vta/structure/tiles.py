"""Geometry of output tiles: which input they need, and which kernel taps touch real data.

Taps that fall into zero padding are never computed and padding is never loaded: a tile at the
border is cut into rectangles of outputs that share their valid taps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from compiler_core.tensor.workload import Window


class Span(NamedTuple):
    """Outputs ``[start, start + extent)`` of one axis that share the kernel taps ``[tap, tap +
    taps)``."""

    start: int
    extent: int
    tap: int
    taps: int


class AxisTile(NamedTuple):
    """One tile along one axis.

    Attributes:
        start, extent: Outputs.
        low, size: Inputs that it needs; ``size`` may be 0 where all is padding.
        spans: Valid (output, tap) rectangles, exhaustive and disjoint.
    """

    start: int
    extent: int
    low: int
    size: int
    spans: tuple[Span, ...]


@lru_cache(maxsize=4096)
def axis_tiles(
    window: Window, axis: int, size: int, outputs: int, tile: int
) -> tuple[AxisTile, ...]:
    """Cuts one output axis into tiles.

    Args:
        window: Kernel geometry.
        axis: 0 for rows, 1 for columns.
        size: Input extent.
        outputs: Output extent.
        tile: Outputs per tile; the last may be smaller.
    """
    starts = range(0, outputs, tile)
    return tuple(axis_tile(window, axis, size, s, min(tile, outputs - s)) for s in starts)


@lru_cache(maxsize=16384)
def axis_tile(window: Window, axis: int, size: int, start: int, count: int) -> AxisTile:
    """The tile of ``count`` outputs from ``start`` on; the others as in :func:`axis_tiles`."""
    kernel, stride, dilation = window.kernel[axis], window.strides[axis], window.dilations[axis]
    pad = window.pads[axis]
    valid = []
    for tap in range(kernel):
        offset = tap * dilation - pad
        # The smallest output with output * stride + offset >= 0, and the largest below the size.
        first = max(start, -(offset // stride))
        last = min(start + count - 1, (size - 1 - offset) // stride)
        if first <= last:
            valid.append((tap, first, last - first + 1))
    spans: list[Span] = []
    for tap, first, number in valid:
        if spans and spans[-1][:2] == (first, number) and spans[-1].tap + spans[-1].taps == tap:
            spans[-1] = spans[-1]._replace(taps=spans[-1].taps + 1)
        else:
            spans.append(Span(first, number, tap, 1))
    low = min((s.start * stride + s.tap * dilation - pad for s in spans), default=0)
    ends = (
        (s.start + s.extent - 1) * stride + (s.tap + s.taps - 1) * dilation - pad for s in spans
    )
    return AxisTile(start, count, low, max(ends, default=-1) - low + 1, tuple(spans))
