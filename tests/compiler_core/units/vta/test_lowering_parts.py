"""Slots, tiles, packing, builder: the parts of the lowering on their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import NestTuneError
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.lower.emit import ProgramBuilder
from compiler_core.units.vta.lower.pack import (
    bias_vector,
    pack_activation,
    pack_weights,
    unpack_activation,
)
from compiler_core.units.vta.lower.slots import SlotPool, streams
from compiler_core.units.vta.machine.isa import MemoryType, decode
from compiler_core.units.vta.structure.conv_structure import bias_tiles, conv_structure
from compiler_core.units.vta.structure.tiles import axis_tiles


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 4), st.booleans())
def test_slots_hold_what_was_acquired_and_never_load_more_than_lru(
    uses: list[int], count: int, streamed: bool
) -> None:
    pool = SlotPool(10, count, 5, uses, streamed=streamed)
    content: dict[int, int] = {}
    last = None
    loads = 0
    for key in uses:
        slot, resident = pool.acquire()
        assert (content.get(slot.base) == key) == resident
        loads += not resident
        if streamed and count > 1 and not resident:
            assert slot.base != last
        last = slot.base
        content[slot.base] = key
        assert slot.base in range(10, 10 + 5 * count, 5)
    recent: list[int] = []
    lru_loads = 0
    for key in uses:
        lru_loads += key not in recent
        recent = [*(k for k in recent if k != key), key][-count:]
    assert loads <= lru_loads


@pytest.mark.parametrize(
    ("uses", "slots", "streamed"),
    [
        ([*range(16)] * 3, 2, True),  # a circle: 48 loads for 46
        ([*range(4)] * 3, 2, False),  # 12 for 8
        ([*range(4)] * 3, 4, False),  # all stay
        ([*range(16)], 1, False),
    ],
)
def test_a_pool_streams_where_few_loads_more_are_taken(
    uses: list[int], slots: int, streamed: bool
) -> None:
    assert streams(uses, slots) == streamed


windows = st.builds(
    lambda k, s, p, q, d: Window((k, k), (s, s), (p, p, q, q), (d, d)),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(1, 2),
)


@given(windows, st.integers(1, 20), st.integers(1, 20))
def test_tiles_cover_exactly_the_taps_on_real_data(window: Window, size: int, tile: int) -> None:
    (outputs, _) = window.output_size(size, size)
    if outputs < 1:
        return
    kernel, stride, dilation, pad = (
        window.kernel[0],
        window.strides[0],
        window.dilations[0],
        window.pads[0],
    )
    expected = {
        (output, tap)
        for output in range(outputs)
        for tap in range(kernel)
        if 0 <= output * stride + tap * dilation - pad < size
    }
    found: list[tuple[int, int]] = []
    for part in axis_tiles(window, 0, size, outputs, tile):
        for span in part.spans:
            for output in range(span.start, span.start + span.extent):
                assert part.start <= output < part.start + part.extent
                for tap in range(span.tap, span.tap + span.taps):
                    found.append((output, tap))
                    position = output * stride + tap * dilation - pad
                    assert part.low <= position < part.low + part.size
    assert len(found) == len(expected)
    assert set(found) == expected


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4), st.integers(1, 4))
def test_activation_layout_round_trip(n: int, c: int, h: int, w: int) -> None:
    image = np.random.default_rng(c).integers(-128, 128, (n, c, h, w)).astype(np.int8)
    packed = pack_activation(image)
    assert packed.shape == (n, -(-c // 16), h, w, 16)
    assert packed[0, 0, 0, 0, 0] == image[0, 0, 0, 0]
    assert np.array_equal(unpack_activation(packed, c), image)


@given(st.integers(1, 24), st.data())
def test_bias_tiles_times_the_constant_vector_are_the_constants(
    bits: int, data: st.DataObject
) -> None:
    limit = (1 << bits) - 1
    values = data.draw(st.lists(st.integers(-limit, limit), min_size=1, max_size=20))
    constants = np.array([*values, limit, -limit], np.int64)
    workload = ConvWorkload(
        1, 16, 1, 1, len(constants), Window((1, 1)), 1, Epilogue(bits, True, True, True)
    )
    weight = np.zeros((len(constants), 16, 1, 1), np.int8)
    tiles = pack_weights(workload, weight, constants, 0, gemm_bias=True).astype(np.int64)
    extra = bias_tiles(bits)
    sums = (tiles @ bias_vector().astype(np.int64)).reshape(-1, extra + 1, 16)
    assert np.array_equal(sums[:, :extra].sum(axis=1).reshape(-1)[: len(constants)], constants)


def test_bias_beyond_its_bits_is_refused() -> None:
    workload = ConvWorkload(1, 16, 1, 1, 16, Window((1, 1)), 1, Epilogue(17, True, True, True))
    weight, constants = np.zeros((16, 16, 1, 1), np.int8), np.full(16, 1 << 20)
    with pytest.raises(NestTuneError, match="1048576 exceeds what 1 weight tiles"):
        pack_weights(workload, weight, constants, 0, gemm_bias=True)


@pytest.mark.parametrize(
    ("channels", "out", "groups", "ranges", "diagonal", "run"),
    [
        (32, 48, 1, ((0, 2),) * 3, False, 3),
        (48, 48, 48, ((0, 1), (1, 2), (2, 3)), True, 3),
        (64, 64, 16, ((0, 1), (1, 2), (2, 3), (3, 4)), True, 4),
        (64, 64, 2, ((0, 2), (0, 2), (2, 4), (2, 4)), False, 2),
        (24, 48, 2, ((0, 1), (0, 2), (0, 2)), False, 1),
    ],
)
def test_blocks_of_grouped_convolutions(
    channels: int,
    out: int,
    groups: int,
    ranges: tuple[tuple[int, int], ...],
    diagonal: bool,
    run: int,
) -> None:
    epilogue = Epilogue(0, True, True, True)
    workload = ConvWorkload(1, channels, 4, 4, out, Window((3, 3)), groups, epilogue)
    structure = conv_structure(workload)
    assert (structure.ranges, structure.diagonal, structure.run) == (ranges, diagonal, run)


def test_transfer_that_no_field_can_hold_is_refused() -> None:
    builder = ProgramBuilder(1024, 2048, preload=True)
    with pytest.raises(NestTuneError, match="a field holds at most 65535"):
        builder.load(MemoryType.INP, 0, 4096, 70000)


def test_rows_further_apart_than_a_field_can_say_are_transfers_of_their_own() -> None:
    builder = ProgramBuilder(1024, 2048, preload=True)
    assert builder.load(MemoryType.INP, 0, 4096, 1, 2, 70000) == 1
    rows = decode(builder.build().instructions)
    assert [int(row["dram_base"]) for row in rows[:2]] == [4096, 74096]
    assert [int(row["sram_base"]) for row in rows[:2]] == [0, 1]
