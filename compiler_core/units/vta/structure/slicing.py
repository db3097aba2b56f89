"""Slices of one operator for several cores: each a workload of its own inside the same images.

By output channels, cores have disjoint weights and read the same input (or, where the operator has
groups, their groups of it). By output rows, cores share the weights and read the rows that their
windows touch: neighbours overlap by a halo, and the image's padding stays with the outermost slices
that reach it. Both after Sousa et al., "Tensor slicing and optimization for multicore NPUs" (2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Window, Workload
from compiler_core.units.violation import Violation
from compiler_core.units.vta.structure.conv_structure import BLOCK, blocks


class SliceAxis(Enum):
    """Along which axis of the output an operator is cut."""

    CHANNELS = "channels"
    ROWS = "rows"


@dataclass(frozen=True)
class Slice:
    """One core's part of an operator.

    Attributes:
        workload: The part as an operator of its own.
        axis: Along which axis it was cut.
        block: First block of 16 output channels.
        in_block: First block of input channels that it reads.
        row: First output row.
        in_row: First input row that it reads.
    """

    workload: Workload
    axis: SliceAxis
    block: int = 0
    in_block: int = 0
    row: int = 0
    in_row: int = 0

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return blocks(out_channels(self.workload))

    @property
    def channels(self) -> slice:
        """Output channels, as a slice of the whole operator's."""
        first = self.block * BLOCK
        return slice(first, first + out_channels(self.workload))


def out_channels(workload: Workload) -> int:
    """Output channels of any workload."""
    return workload.channels if isinstance(workload, MaxPoolWorkload) else workload.out_channels


def in_channels(workload: Workload) -> int:
    """Input channels of any workload."""
    return workload.channels if isinstance(workload, MaxPoolWorkload) else workload.in_channels


def slice_violations(workload: Workload, cores: int, axis: SliceAxis) -> tuple[Violation, ...]:
    """Why an operator cannot be sliced along an axis; empty where it can."""
    if cores == 1:
        return ()
    if isinstance(workload, ConvWorkload) and workload.operand:
        remedy = "leave it on one core"
        return (Violation("products of two activations", 1, 0, "slices", remedy),)
    if isinstance(workload, ConvWorkload) and workload.spread is not None:
        remedy = "leave it on one core"
        return (Violation("additions of what is spread over the output", 1, 0, "slices", remedy),)
    if isinstance(workload, ConvWorkload) and workload.interleave > 1:
        remedy = "leave it on one core"
        return (Violation("phases that lie side by side", 1, 0, "slices", remedy),)
    other = SliceAxis.ROWS if axis is SliceAxis.CHANNELS else SliceAxis.CHANNELS
    remedy = f"slice it by {other.value}, or leave it on one core"
    pieces = len(_channel_borders(workload)) - 1
    if axis is SliceAxis.ROWS:
        pieces = workload.out_height
    if pieces < 2:
        if axis is SliceAxis.ROWS:
            rule = "output rows"
        elif isinstance(workload, ConvWorkload) and workload.groups > 1:
            rule = "runs of whole groups that begin at a block of 16 channels on both sides"
        else:
            rule = "blocks of 16 output channels"
        return (Violation(rule, 2, pieces, "slices", remedy),)
    if axis is SliceAxis.ROWS:
        for first, last in _cuts(list(range(pieces + 1)), cores):
            low, high = _window_rows(workload, first, last)
            touched = min(high, workload.in_height) - max(low, 0)
            if touched < 1:
                rule = f"input rows of output rows {first} to {last - 1}, which are all padding"
                return (Violation(rule, 1, 0, "rows", remedy),)
    return ()


def slice_workload(workload: Workload, cores: int, axis: SliceAxis) -> tuple[Slice, ...]:
    """Cuts an operator into one slice per core, as equal as its blocks or rows allow.

    Args:
        workload: The operator.
        cores: At least 1; one core gets the operator as it is.
        axis: Where to cut.

    Returns:
        The slices in order, fewer than cores where there are not as many pieces. They cover every
        output once.

    Raises:
        InfeasibleError: There is nothing to cut along that axis, with the reason.
    """
    if cores < 1:
        raise InfeasibleError(f"{workload.operator} cannot be sliced for {cores} cores, at least 1")
    found = slice_violations(workload, cores, axis)
    if found:
        raise InfeasibleError(f"{workload.operator} cannot be sliced by {axis.value}: {found[0]}")
    if cores == 1:
        return (Slice(workload, axis),)
    if axis is SliceAxis.ROWS:
        rows = list(range(workload.out_height + 1))
        return tuple(_row_slice(workload, *cut) for cut in _cuts(rows, cores))
    return tuple(_channel_slice(workload, *cut) for cut in _cuts(_channel_borders(workload), cores))


def _cuts(borders: list[int], cores: int) -> list[tuple[int, int]]:
    """Ranges between borders, as equal as can be."""
    pieces = len(borders) - 1
    count = min(cores, pieces)
    places = [borders[pieces * index // count] for index in range(count + 1)]
    return list(pairwise(places))


def _channel_borders(workload: Workload) -> list[int]:
    """Output blocks at which a slice may begin, and the end."""
    end = blocks(out_channels(workload))
    if isinstance(workload, MaxPoolWorkload) or workload.groups == 1:
        return list(range(end + 1))
    group_out = workload.out_channels // workload.groups
    group_in = workload.in_channels // workload.groups
    inner = [
        block
        for block in range(end)
        if block * BLOCK % group_out == 0 and block * BLOCK // group_out * group_in % BLOCK == 0
    ]
    return [*inner, end]


def _channel_slice(workload: Workload, first: int, last: int) -> Slice:
    channels = min(last * BLOCK, out_channels(workload)) - first * BLOCK
    if isinstance(workload, MaxPoolWorkload):
        part: Workload = replace(workload, channels=channels)
        return Slice(part, SliceAxis.CHANNELS, block=first, in_block=first)
    if workload.groups == 1:
        part = replace(workload, out_channels=channels)
        return Slice(part, SliceAxis.CHANNELS, block=first)
    group_out = workload.out_channels // workload.groups
    group_in = workload.in_channels // workload.groups
    groups = channels // group_out
    part = replace(
        workload,
        in_channels=groups * group_in,
        out_channels=channels,
        groups=groups,
        entry=False,  # the whole operator folds no taps, so its slices cannot either
    )
    in_block = first * BLOCK // group_out * group_in // BLOCK
    return Slice(part, SliceAxis.CHANNELS, block=first, in_block=in_block)


def _window_rows(workload: Workload, first: int, last: int) -> tuple[int, int]:
    """Input rows ``[low, high)`` of output rows ``[first, last)``; outside the image is padding."""
    window = workload.window
    stride, top = window.strides[0], window.pads[0]
    spread = window.dilations[0] * (window.kernel[0] - 1) + 1
    return first * stride - top, (last - 1) * stride - top + spread


def _row_slice(workload: Workload, first: int, last: int) -> Slice:
    low, high = _window_rows(workload, first, last)
    begin, end = max(low, 0), min(high, workload.in_height)
    window = workload.window
    pads = (begin - low, window.pads[1], high - end, window.pads[3])
    cut = Window(window.kernel, window.strides, pads, window.dilations)
    part = replace(workload, in_height=end - begin, window=cut)
    return Slice(part, SliceAxis.ROWS, row=first, in_row=begin)
