"""Folding of kernel taps into input channels for few-channel convolutions.

A stem with 3 input channels leaves 13 of 16 lanes empty. Where its input comes from the CPU, which
converts the layout anyway, neighbouring columns (or the whole window) can be laid into those lanes:
49 taps of a 7x7 stem become 14 micro-ops per output vector by columns and 10 by window, for a
larger input image.

Cores with longer output vectors read what is folded by 16 channels, as the usual core does: what
they otherwise count in vectors (:mod:`compiler_core.units.vta.structure.vectors`) is counted in
pixels there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Window
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant
from compiler_core.units.vta.structure.conv_structure import BLOCK

Int8 = npt.NDArray[np.int8]


def foldable(workload: ConvWorkload) -> bool:
    """Whether taps may become channels: input laid out by the CPU, one group, lanes to spare,
    several taps with weights of their own."""
    taps = workload.window.kernel[0] * workload.window.kernel[1]
    few = workload.groups == 1 and workload.in_channels < BLOCK and not workload.uniform
    return workload.entry and few and taps > 1 and _counts_pixels(workload)


def _counts_pixels(workload: ConvWorkload) -> bool:
    """Whether what is counted in vectors are whole pixels."""
    window, halves = workload.window, workload.halves
    counts = (window.strides[1], window.dilations[1], window.pads[1], window.pads[3])
    return not any(count % halves for count in (workload.in_width, *counts))


def in_pixels(workload: ConvWorkload) -> ConvWorkload:
    """A convolution of few channels whose input and window are counted in pixels."""
    halves, window = workload.halves, workload.window
    top, left, bottom, right = window.pads
    return replace(
        workload,
        in_width=workload.in_width // halves,
        window=Window(
            window.kernel,
            (window.strides[0], window.strides[1] // halves),
            (top, left // halves, bottom, right // halves),
            (window.dilations[0], window.dilations[1] // halves),
        ),
        vectors=None,
    )


def fold_workload(workload: ConvWorkload, fold: FoldVariant) -> ConvWorkload:
    """The convolution that remains after folding."""
    if fold is FoldVariant.NONE:
        return workload
    return replace(_folded(in_pixels(workload), fold), vectors=workload.vectors)


def _folded(workload: ConvWorkload, fold: FoldVariant) -> ConvWorkload:
    window = workload.window
    kernel_h, kernel_w = window.kernel
    if fold is FoldVariant.WINDOW:
        return replace(
            workload,
            in_channels=workload.in_channels * kernel_h * kernel_w,
            in_height=workload.out_height,
            in_width=workload.out_width,
            window=Window((1, 1)),
            entry=False,
        )
    return replace(
        workload,
        in_channels=workload.in_channels * kernel_w,
        in_width=workload.out_width,
        window=Window(
            (kernel_h, 1),
            (window.strides[0], 1),
            (window.pads[0], 0, window.pads[2], 0),
            (window.dilations[0], 1),
        ),
        entry=False,
    )


def unfold(workload: ConvWorkload, schedule: ConvSchedule) -> tuple[ConvWorkload, ConvSchedule]:
    """The folded workload and the schedule for it."""
    folded = fold_workload(workload, schedule.fold)
    return folded, replace(schedule, fold=FoldVariant.NONE)


def fold_weight(weight: Int8, fold: FoldVariant) -> Int8:
    """``int8[O, C, kh, kw]`` to the weights of the folded convolution; channels run fastest."""
    out_channels, _, kernel_h, _ = weight.shape
    if fold is FoldVariant.NONE:
        return weight
    if fold is FoldVariant.WINDOW:
        return weight.transpose(0, 2, 3, 1).reshape(out_channels, -1, 1, 1)
    return weight.transpose(0, 3, 1, 2).reshape(out_channels, -1, kernel_h, 1)


def fold_input(image: Int8, workload: ConvWorkload, fold: FoldVariant) -> Int8:
    """``int8[N, C, H, W]`` to the input image of the folded convolution.

    Args:
        image: Quantized input.
        workload: The convolution before folding.
        fold: Which taps become channels.
    """
    if fold is FoldVariant.NONE:
        return image
    workload = in_pixels(workload)
    window = workload.window
    top, left, bottom, right = window.pads
    if fold is FoldVariant.COLUMNS:
        top = bottom = 0
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows = _windows(padded, 3, window, 1, workload.out_width)
    if fold is FoldVariant.COLUMNS:
        return _channels_last_tap(np.stack(rows))
    taps = [t for row in rows for t in _windows(row, 2, window, 0, workload.out_height)]
    kernel_h, kernel_w = window.kernel
    ordered = [
        taps[column * kernel_h + row] for row in range(kernel_h) for column in range(kernel_w)
    ]
    return _channels_last_tap(np.stack(ordered))


def _windows(image: Int8, dimension: int, window: Window, axis: int, outputs: int) -> list[Int8]:
    stride, dilation = window.strides[axis], window.dilations[axis]
    result = []
    for tap in range(window.kernel[axis]):
        index = tap * dilation + np.arange(outputs) * stride
        result.append(np.take(image, index, axis=dimension))
    return result


def _channels_last_tap(taps: Int8) -> Int8:
    """``int8[taps, N, C, H, W]`` to ``int8[N, taps * C, H, W]``."""
    count, n, channels, height, width = taps.shape
    return np.ascontiguousarray(taps.transpose(1, 0, 2, 3, 4)).reshape(
        n, count * channels, height, width
    )
