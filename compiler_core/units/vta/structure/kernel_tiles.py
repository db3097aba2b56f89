"""Windows larger than the buffers, cut into parts: rows of the kernel, or runs of one row.

A reduction step of a convolution multiplies a block of input channels by all taps of the kernel. A
window that reads more pixels, or has more weights, than the buffers hold is walked in several steps
instead: each is a window of its own, moved by its first tap, and all of them add up in the same
accumulators. The results are those of the whole window bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from compiler_core.tensor.workload import ConvWorkload, Window

MOST_PIXELS = 2045
"""Pixels of a window that is walked whole: the largest input buffer, beside two slots of a residual
and a constant."""
MOST_TAPS = 1021
"""Weights of a window that is walked whole: the largest weight buffer, beside two tiles of a bias
and one of a residual."""
_PIXELS_OF_A_PART = 512
_TAPS_OF_A_PART = 256
"""A quarter of the largest buffers, so that tiles have several outputs and two slots."""


class KernelPart(NamedTuple):
    """Taps of one step: ``rows`` kernel rows from ``row`` on, ``columns`` from ``column`` on."""

    row: int
    rows: int
    column: int
    columns: int

    @property
    def taps(self) -> int:
        """How many."""
        return self.rows * self.columns


def kernel_tile(
    kernel: tuple[int, int],
    dilations: tuple[int, int],
    image: tuple[int, int],
    *,
    distinct_weights: bool,
) -> tuple[int, int]:
    """Kernel rows and columns of one step; all of them where the window fits as a whole.

    Args:
        kernel, dilations: Of the window, ``(h, w)``.
        image: Rows and columns of its input; padding is never loaded.
        distinct_weights: Whether each tap has weights of its own.

    Returns:
        Whole rows of the kernel, or a run of columns of a single row.
    """

    def fits(rows: int, columns: int, pixels: int, taps: int) -> bool:
        read = _reach(rows, dilations[0], image[0]) * _reach(columns, dilations[1], image[1])
        return read <= pixels and (not distinct_weights or rows * columns <= taps)

    if fits(*kernel, MOST_PIXELS, MOST_TAPS):
        return kernel
    for rows in range(kernel[0], 0, -1):
        if fits(rows, kernel[1], _PIXELS_OF_A_PART, _TAPS_OF_A_PART):
            return _even(kernel[0], rows), kernel[1]
    for columns in range(kernel[1], 1, -1):
        if fits(1, columns, _PIXELS_OF_A_PART, _TAPS_OF_A_PART):
            return 1, _even(kernel[1], columns)
    return 1, 1


def _reach(taps: int, dilation: int, size: int) -> int:
    return min(size, dilation * (taps - 1) + 1)


def _even(extent: int, most: int) -> int:
    """The largest of as many parts as it takes, cut as equal as can be."""
    return -(-extent // -(-extent // most))


@lru_cache(maxsize=4096)
def tile_of(workload: ConvWorkload) -> tuple[int, int]:
    """:func:`kernel_tile` of a workload."""
    window = workload.window
    return kernel_tile(
        window.kernel,
        window.dilations,
        (workload.in_height, workload.in_width),
        distinct_weights=not workload.uniform,
    )


@lru_cache(maxsize=4096)
def kernel_parts(workload: ConvWorkload) -> tuple[KernelPart, ...]:
    """The steps of a window, in the order of its weights; one where it is walked whole."""
    height, width = workload.window.kernel
    rows, columns = tile_of(workload)
    return tuple(
        KernelPart(row, min(rows, height - row), column, min(columns, width - column))
        for row in range(0, height, rows)
        for column in range(0, width, columns)
    )


@lru_cache(maxsize=4096)
def part_workload(workload: ConvWorkload, part: KernelPart) -> ConvWorkload:
    """The operator with the taps of one step alone; pads are negative where it begins or ends
    inside the image."""
    window = workload.window
    top, left, bottom, right = window.pads
    down, across = window.dilations
    below = window.kernel[0] - part.row - part.rows
    beside = window.kernel[1] - part.column - part.columns
    pads = (
        top - part.row * down,
        left - part.column * across,
        bottom - below * down,
        right - beside * across,
    )
    cut = Window((part.rows, part.columns), window.strides, pads, window.dilations)
    return replace(workload, window=cut)
