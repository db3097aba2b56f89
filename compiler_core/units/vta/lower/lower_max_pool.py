"""Lowers max pooling: an identity tile moves int8 data into the accumulators, tensor-tensor MAX
does the rest.

The GEMM unit copies the tile's inputs once, and each output's first valid tap into the output
region; the other taps are then compared with strided reads. Padding is never touched, so it never
wins.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from compiler_core.tensor.workload import MaxPoolWorkload, Requantization
from compiler_core.units.vta.legality.legality import input_extents, require_legal
from compiler_core.units.vta.lower.apart import load_apart, store_apart
from compiler_core.units.vta.lower.emit import LoweredProgram, ProgramBuilder
from compiler_core.units.vta.lower.loops import Axis, LoopNest, compress, pack
from compiler_core.units.vta.lower.placement import MaxPoolPlacement
from compiler_core.units.vta.lower.slots import SlotPool
from compiler_core.units.vta.lower.tokens import NOTHING
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import AluOpcode, MemoryType
from compiler_core.units.vta.schedule.schedule import MaxPoolSchedule, MicroOpLoading
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.structure.tiles import AxisTile, axis_tiles


class PoolTile(NamedTuple):
    """One tile of outputs."""

    sample: int
    block: int
    blocks: int
    rows: AxisTile
    columns: AxisTile

    @property
    def points(self) -> int:
        """Output points per block."""
        return self.rows.extent * self.columns.extent


class _Region(NamedTuple):
    """Outputs ``[start, start + extent)`` and one tap that is valid for all of them."""

    start: int
    extent: int
    tap: int


def lower_max_pool(
    workload: MaxPoolWorkload,
    schedule: MaxPoolSchedule,
    requantization: Requantization,
    placement: MaxPoolPlacement,
    geometry: VtaGeometry,
) -> LoweredProgram:
    """Lowers one max pool; arguments and errors as for convolutions (``lower_conv``)."""
    require_legal(workload, schedule, geometry)
    bytes_of = geometry.element_bytes
    builder = ProgramBuilder(
        placement.micro_ops // bytes_of.uop,
        geometry.depth.uop,
        preload=schedule.micro_ops is MicroOpLoading.PRELOAD,
    )
    identity = builder.load(MemoryType.WGT, 0, placement.identity // bytes_of.wgt, workload.halves)
    tiles = _tiles(workload, schedule)
    size = (workload.in_height, workload.in_width)
    rows, columns = input_extents(workload.window, size, schedule.tile_height, schedule.tile_width)
    staging = int(rows * columns) * schedule.tile_blocks
    inputs = SlotPool(0, schedule.input_slots, staging * workload.halves, range(len(tiles)))
    output_size = schedule.tile_height * schedule.tile_width * schedule.tile_blocks
    stored = [NOTHING] * schedule.output_slots
    for index, tile in enumerate(tiles):
        slot, _ = inputs.acquire()
        loaded = _load(
            builder, workload, tile, placement, bytes_of.inp, slot.base, slot.last_reader
        )
        turn = index % schedule.output_slots
        base = staging + turn * output_size
        count = tile.blocks * tile.rows.size * tile.columns.size
        halves = workload.halves
        whole = LoopNest(1, count, 0, 1, 0, 1, 0, 0, (0,))
        builder.gemm(whole, pack(0, 0), reset=True)
        copies: tuple[LoopNest, ...] = (whole,)
        if halves > 1:  # what was an output vector is read in halves, each with a tile of its own
            copies = compress((Axis(count, 1, halves, 0), Axis(halves, 0, 1, 1)))
        for nest in copies:
            builder.gemm(nest, pack(0, slot.base), after_load=max(loaded, identity))
        results = LoopNest(1, tile.points * tile.blocks, 0, 1, 0, 1, 0, 0, (0,))
        builder.gemm(results, pack(base, 0), reset=True, after_store=stored[turn])
        for nest, offset in _nests(workload, tile.rows, tile.columns, tile.blocks, True):
            slot.last_reader = builder.gemm(nest, pack(base, slot.base) + offset)
        written = NOTHING
        for nest, offset in _nests(workload, tile.rows, tile.columns, tile.blocks, False):
            written = builder.alu(AluOpcode.MAX, nest, pack(base, 0) + offset)
        where = pack(base, base)
        if workload.clip_low or written == NOTHING:
            written = builder.alu(AluOpcode.MAX, results, where, requantization.clip_min)
        if workload.clip_high:
            written = builder.alu(AluOpcode.MIN, results, where, requantization.clip_max)
        stored[turn] = _store(builder, workload, tile, placement, bytes_of.out, base, written)
    return builder.build()


def _tiles(workload: MaxPoolWorkload, schedule: MaxPoolSchedule) -> list[PoolTile]:
    w = workload
    rows = axis_tiles(w.window, 0, w.in_height, w.out_height, schedule.tile_height)
    columns = axis_tiles(w.window, 1, w.in_width, w.out_width, schedule.tile_width)
    total, step = blocks(w.channels), schedule.tile_blocks
    return [
        PoolTile(sample, block, min(step, total - block), r, c)
        for sample in range(w.batch)
        for block in range(0, total, step)
        for r in rows
        for c in columns
    ]


def _load(
    builder: ProgramBuilder,
    workload: MaxPoolWorkload,
    tile: PoolTile,
    placement: MaxPoolPlacement,
    element_bytes: int,
    sram: int,
    after: int,
) -> int:
    rows, halves = tile.rows, workload.halves
    width, low, extent = (
        halves * number for number in (workload.in_width, tile.columns.low, tile.columns.size)
    )
    plane = halves * placement.input.plane(workload.in_height, workload.in_width)
    image = placement.input.address + tile.sample * placement.input.sample_bytes
    if placement.input.pitch > 1:
        return load_apart(
            builder,
            placement.input,
            image // element_bytes,
            (workload.in_height, workload.in_width),
            range(tile.block, tile.block + tile.blocks),
            (rows.low, rows.size),
            (tile.columns.low, tile.columns.size),
            sram,
            after_compute=after,
        )
    element = image // element_bytes + tile.block * plane + rows.low * width + low
    size = rows.size * extent
    x_size, y_size = (size, 1) if extent == width else (extent, rows.size)
    number = NOTHING
    if size == plane:
        x_size *= tile.blocks
        return builder.load(MemoryType.INP, sram, element, x_size, 1, 0, after_compute=after)
    for index in range(tile.blocks):
        at = element + index * plane
        number = builder.load(
            MemoryType.INP, sram + index * size, at, x_size, y_size, width, after_compute=after
        )
    return number


def _store(
    builder: ProgramBuilder,
    workload: MaxPoolWorkload,
    tile: PoolTile,
    placement: MaxPoolPlacement,
    element_bytes: int,
    sram: int,
    written: int,
) -> int:
    rows, columns, width = tile.rows, tile.columns, workload.out_width
    plane = placement.output.plane(workload.out_height, width)
    image = placement.output.address + tile.sample * placement.output.sample_bytes
    if placement.output.pitch > 1:
        return store_apart(
            builder,
            placement.output,
            image // element_bytes,
            (workload.out_height, width),
            range(tile.block, tile.block + tile.blocks),
            (rows.start, rows.extent),
            (columns.start, columns.extent),
            sram,
            after_compute=written,
        )
    element = image // element_bytes + tile.block * plane + rows.start * width + columns.start
    if tile.points == plane:
        return builder.store(sram, element, tile.blocks * plane, 1, 0, after_compute=written)
    x_size, y_size = (tile.points, 1) if columns.extent == width else (columns.extent, rows.extent)
    number = NOTHING
    for index in range(tile.blocks):
        number = builder.store(
            sram + index * tile.points,
            element + index * plane,
            x_size,
            y_size,
            width,
            after_compute=written,
        )
    return number


def _first_taps(tile: AxisTile) -> list[_Region]:
    """Disjoint regions of outputs with a tap that is valid in each; covers every output."""
    regions: list[_Region] = []
    covered: set[int] = set()
    for span in sorted(tile.spans, key=lambda s: -s.extent):
        run = [o for o in range(span.start, span.start + span.extent) if o not in covered]
        covered.update(run)
        while run:
            length = 1
            while length < len(run) and run[length] == run[0] + length:
                length += 1
            regions.append(_Region(run[0], length, span.tap))
            run = run[length:]
    return regions


def _all_taps(tile: AxisTile) -> list[_Region]:
    return [
        _Region(span.start, span.extent, tap)
        for span in tile.spans
        for tap in range(span.tap, span.tap + span.taps)
    ]


@lru_cache(maxsize=4096)
def _nests(
    workload: MaxPoolWorkload, rows: AxisTile, columns: AxisTile, count: int, first: bool
) -> tuple[tuple[LoopNest, int], ...]:
    """Loop nests over (output, input) with packed offsets: the first taps, or all taps that remain.

    A comparison with the tap that an output started from changes nothing, so only tap pairs that
    are the first one everywhere are left out.
    """
    window = workload.window
    plane, points = rows.size * columns.size, rows.extent * columns.extent
    choose = _first_taps if first else _all_taps
    starts = {(r, c) for r in _first_taps(rows) for c in _first_taps(columns)}
    nests = []
    for row in choose(rows):
        for column in choose(columns):
            if not first and (row, column) in starts:
                continue
            halves = workload.halves if first else 1  # the others are read among accumulators
            axes: tuple[Axis, ...] = (
                Axis(row.extent, columns.extent, halves * window.strides[0] * columns.size, 0),
                Axis(count, points, halves * plane, 0),
                Axis(column.extent, 1, halves * window.strides[1], 0),
            )
            if halves > 1:
                axes += (Axis(halves, 0, 1, 1),)
            dst = (row.start - rows.start) * columns.extent + column.start - columns.start
            in_row = row.start * window.strides[0] + row.tap * window.dilations[0]
            in_column = column.start * window.strides[1] + column.tap * window.dilations[1]
            src = (in_row - window.pads[0] - rows.low) * columns.size
            src += in_column - window.pads[1] - columns.low
            nests += [(nest, pack(dst, halves * src)) for nest in compress(axes)]
    return tuple(nests)
