"""Where operators may be cut, and what the slices are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Window,
    Workload,
)
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.structure.slicing import (
    Slice,
    SliceAxis,
    out_channels,
    slice_violations,
    slice_workload,
)
from tests.compiler_core.units.vta.reference_operators import random_conv

EPILOGUE = Epilogue(17, True, True, True)


def conv(channels: int, size: int, out: int, groups: int = 1, kernel: int = 3) -> ConvWorkload:
    window = Window((kernel, kernel), (1, 1), (kernel // 2,) * 4)
    return ConvWorkload(1, channels, size, size, out, window, groups, EPILOGUE)


def touched_rows(workload: Workload, offset: int = 0) -> list[set[int]]:
    """For each output row the input rows that its window touches."""
    window = workload.window
    rows = []
    for output in range(workload.out_height):
        first = output * window.strides[0] - window.pads[0]
        taps = {first + tap * window.dilations[0] for tap in range(window.kernel[0])}
        rows.append({row + offset for row in taps if 0 <= row < workload.in_height})
    return rows


def assert_rows_are_cut(workload: Workload, slices: tuple[Slice, ...]) -> None:
    expected = touched_rows(workload)
    found: list[set[int]] = []
    for part in slices:
        assert part.row == len(found)
        found += touched_rows(part.workload, part.in_row)
        assert part.in_row + part.workload.in_height <= workload.in_height
        assert out_channels(part.workload) == out_channels(workload)
        assert part.workload.out_width == workload.out_width
    assert found == expected


def assert_channels_are_cut(workload: Workload, slices: tuple[Slice, ...]) -> None:
    block = 0
    for part in slices:
        assert part.block == block
        block += part.blocks
        assert part.workload.out_height == workload.out_height
    assert block == blocks(out_channels(workload))
    assert sum(out_channels(part.workload) for part in slices) == out_channels(workload)
    assert sum(part.workload.macs for part in slices) == workload.macs


@pytest.mark.parametrize("seed", range(300))
def test_slices_cover_every_output_once(seed: int) -> None:
    r = random.Random(seed)
    workload: Workload = random_conv(r).terms.workload
    if seed % 5 == 0:
        assert isinstance(workload, ConvWorkload)
        size = (workload.in_height, workload.in_width)
        workload = MaxPoolWorkload(workload.batch, r.choice([7, 50, 80]), *size, workload.window)
    cores, axis = r.randint(1, 5), r.choice(list(SliceAxis))
    if slice_violations(workload, cores, axis):
        with pytest.raises(InfeasibleError, match=f"cannot be sliced by {axis.value}"):
            slice_workload(workload, cores, axis)
        return
    slices = slice_workload(workload, cores, axis)
    assert 1 <= len(slices) <= cores
    if len(slices) == 1:
        assert cores == 1
        assert slices[0].workload == workload
    elif axis is SliceAxis.ROWS:
        assert_rows_are_cut(workload, slices)
    else:
        assert_channels_are_cut(workload, slices)


def test_remainders_differ_by_one_piece() -> None:
    by_rows = slice_workload(conv(64, 7, 112), 4, SliceAxis.ROWS)
    assert sorted(part.workload.out_height for part in by_rows) == [1, 2, 2, 2]
    by_channels = slice_workload(conv(64, 7, 100), 3, SliceAxis.CHANNELS)
    assert [out_channels(part.workload) for part in by_channels] == [32, 32, 36]


def test_row_slices_keep_the_halo_and_the_padding_at_their_border() -> None:
    top, bottom = slice_workload(conv(16, 14, 16), 2, SliceAxis.ROWS)
    assert top.workload.window.pads == (1, 1, 0, 1)
    assert bottom.workload.window.pads == (0, 1, 1, 1)
    assert (top.in_row, top.workload.in_height) == (0, 8)
    assert (bottom.in_row, bottom.workload.in_height) == (6, 8)


def test_fewer_pieces_than_cores_leave_cores_without_work() -> None:
    assert len(slice_workload(conv(64, 14, 48), 4, SliceAxis.CHANNELS)) == 3


@pytest.mark.parametrize(
    ("channels", "out", "groups", "borders"),
    [
        (64, 64, 64, [0, 1, 2, 3]),  # depthwise
        (32, 64, 32, [0, 2]),  # two outputs per channel: 16 inputs are 32 outputs
        (64, 128, 2, [0, 4]),  # whole groups only
        (96, 96, 4, [0, 3]),  # groups of 24 meet a block border at 48
        (40, 80, 20, [0, 2, 4]),
    ],
)
def test_grouped_convolutions_are_cut_between_groups(
    channels: int, out: int, groups: int, borders: list[int]
) -> None:
    workload = conv(channels, 7, out, groups)
    slices = slice_workload(workload, 8, SliceAxis.CHANNELS)
    assert [part.block for part in slices] == borders
    for part in slices:
        assert isinstance(part.workload, ConvWorkload)
        per_group = part.workload.out_channels // part.workload.groups
        assert per_group == out // groups
        assert part.in_block * 16 == part.block * 16 // per_group * (channels // groups)


def test_reasons_name_what_there_is_and_what_helps() -> None:
    (narrow,) = slice_violations(conv(64, 14, 16), 2, SliceAxis.CHANNELS)
    assert narrow.rule == "blocks of 16 output channels"
    assert (narrow.demand, narrow.bound) == (2, 1)
    assert "by rows" in narrow.remedy
    (grouped,) = slice_violations(conv(24, 14, 24, 2), 2, SliceAxis.CHANNELS)
    assert "whole groups" in grouped.rule
    (flat,) = slice_violations(conv(64, 1, 64, kernel=1), 2, SliceAxis.ROWS)
    assert flat.rule == "output rows"
    assert "by channels" in flat.remedy
    padded = replace(conv(16, 4, 16), window=Window((1, 1), (1, 1), (3, 0, 0, 0)))
    (padding,) = slice_violations(padded, 4, SliceAxis.ROWS)
    assert "all padding" in padding.rule
    with pytest.raises(InfeasibleError, match="0 cores"):
        slice_workload(conv(16, 4, 16), 0, SliceAxis.ROWS)
