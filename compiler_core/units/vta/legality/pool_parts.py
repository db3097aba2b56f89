"""Max pools larger than the buffers: several smaller ones in a row that give the same maxima."""

from __future__ import annotations

from math import prod

from compiler_core.quantize.arithmetic import OperatorWindow
from compiler_core.tensor.workload import Window
from compiler_core.units.vta.legality.window_limits import window_misfit

_BLOCK = 256
"""Elements of a line that one window of the first of two pools covers."""


def pool_parts(window: Window, image: tuple[int, int]) -> tuple[Window, ...]:
    """Windows whose maxima, one after the other, are those of ``window``.

    A rectangle is the maximum of the maxima of its rows. A line that covers all there is becomes
    windows beside each other and one over their results.

    Args:
        window: Of a pool each of whose windows has an element that is not padding.
        image: Rows and columns of its input.

    Returns:
        ``window`` alone where it fits, or where nothing here makes it fit.
    """
    if _fits(window, image):
        return (window,)
    top, left, bottom, right = window.pads
    rows = Window(
        (window.kernel[0], 1), (window.strides[0], 1), (top, 0, bottom, 0), (window.dilations[0], 1)
    )
    columns = Window(
        (1, window.kernel[1]), (1, window.strides[1]), (0, left, 0, right), (1, window.dilations[1])
    )
    parts: list[Window] = []
    size = image
    for axis, line in enumerate((rows, columns)):
        if line.kernel == (1, 1) and line.strides == (1, 1):
            continue
        found = _line(line, axis, size)
        if found is None:
            return (window,)
        parts += found
        size = line.output_size(*size)
    return tuple(parts)


def _fits(window: Window, image: tuple[int, int]) -> bool:
    read = OperatorWindow(
        window.kernel, window.dilations, image, distinct_weights=False, compares=True, outputs=1
    )
    return window_misfit(read) is None


def _line(window: Window, axis: int, image: tuple[int, int]) -> list[Window] | None:
    if _fits(window, image):
        return [window]
    size, kernel, pad = image[axis], window.kernel[axis], window.pads[axis]
    covers_all = window.dilations[axis] == 1 and pad >= 0 and kernel - pad >= size
    if not covers_all or prod(window.output_size(*image)) != image[1 - axis]:
        return None
    count = -(-size // _BLOCK)
    first = Window(
        _along(axis, _BLOCK), _along(axis, _BLOCK), _after(axis, count * _BLOCK - size), (1, 1)
    )
    return [first, Window(_along(axis, count), (1, 1))]


def _along(axis: int, extent: int) -> tuple[int, int]:
    return (extent, 1) if axis == 0 else (1, extent)


def _after(axis: int, pad: int) -> tuple[int, int, int, int]:
    return (0, 0, pad, 0) if axis == 0 else (0, 0, 0, pad)
