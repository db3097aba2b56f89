"""The walk of a convolution: output tiles, and the steps of their reduction."""

from __future__ import annotations

from typing import NamedTuple

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.schedule.schedule import ConvSchedule, LoopOrder
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.tiles import AxisTile, axis_tiles


class OutputTile(NamedTuple):
    """One tile of outputs: sample, rows, columns, output blocks and their reduction range."""

    sample: int
    rows: AxisTile
    columns: AxisTile
    block: int
    blocks: int
    low: int
    high: int

    @property
    def points(self) -> int:
        """Output points per block."""
        return self.rows.extent * self.columns.extent


class ReductionTile(NamedTuple):
    """One reduction tile: input blocks, the part of the kernel, and the input that it reads."""

    low: int
    high: int
    part: int
    rows: AxisTile
    columns: AxisTile


def output_tiles(workload: ConvWorkload, schedule: ConvSchedule) -> list[OutputTile]:
    """All output tiles in the schedule's order."""
    structure = conv_structure(workload)
    window = workload.window
    rows = axis_tiles(window, 0, workload.in_height, workload.out_height, schedule.tile_height)
    columns = axis_tiles(window, 1, workload.in_width, workload.out_width, schedule.tile_width)
    image = [(n, r, c) for n in range(workload.batch) for r in rows for c in columns]
    step = schedule.tile_out_blocks
    channels = []
    for block in range(0, structure.out_blocks, step):
        count = min(step, structure.out_blocks - block)
        low, high = structure.ranges[block]
        channels.append((block, count, low, low + count if structure.diagonal else high))
    if schedule.order is LoopOrder.WEIGHT_STATIONARY:
        return [OutputTile(*i, *c) for c in channels for i in image]
    return [OutputTile(*i, *c) for i in image for c in channels]
