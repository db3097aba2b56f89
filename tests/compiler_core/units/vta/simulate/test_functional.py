"""The functional simulator against the conformance vectors and a plain interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import BufferDepth, ElementBytes, VtaGeometry
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.simulate.functional import execute, prepare
from tests.compiler_core.units.vta import reference_functional as reference
from tests.compiler_core.units.vta.reference_functional import (
    ACC,
    ADD,
    ALU,
    FINISH,
    GEMM,
    INP,
    LOAD,
    OUT,
    SHR,
    STORE,
    WGT,
    Bytes,
    micro_op,
    pack,
    stream,
)
from tests.compiler_core.units.vta.vectors import GEOMETRY, POSITIVE, VECTORS


def test_all_positive_vectors_are_there() -> None:
    assert len(POSITIVE) == 72


@pytest.mark.parametrize("entry", POSITIVE, ids=lambda entry: entry["file"])
def test_vector_gives_exactly_the_expected_dram(entry: dict[str, Any]) -> None:
    program = read_program_file(VECTORS / entry["file"])
    dram = program.dram()
    execute(program.instructions, GEOMETRY, dram)
    np.testing.assert_array_equal(dram, program.expected_dram())


@pytest.mark.parametrize("seed", range(80))
def test_random_programs_equal_the_plain_interpreter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instructions = reference.random_program(lambda low, high: int(rng.integers(low, high + 1)), 24)
    _assert_equal_to_reference(instructions, reference.random_dram(rng))


@settings(max_examples=40)
@given(st.data(), st.integers(0, 3))
def test_drawn_programs_equal_the_plain_interpreter(data: st.DataObject, seed: int) -> None:
    instructions = reference.random_program(
        lambda low, high: data.draw(st.integers(low, high)), data.draw(st.integers(0, 6))
    )
    _assert_equal_to_reference(instructions, reference.random_dram(np.random.default_rng(seed)))


def _assert_equal_to_reference(instructions: Bytes, dram: Bytes) -> None:
    expected = dram.copy()
    reference.interpret(instructions, expected)
    execute(instructions, GEOMETRY, dram)
    np.testing.assert_array_equal(dram, expected)


DRAM_BYTES = 0x8000
ACC_BASE, UOP_BASE, OUT_BASE = 0x2000, 0x1000, 0x6000


def _load(memory_type: int, byte: int, count: int, **values: int) -> int:
    return pack(
        LOAD,
        memory_type=memory_type,
        dram_base=byte // reference.BYTES[memory_type],
        y_size=1,
        x_size=count,
        x_stride=count,
        **values,
    )


def _store(count: int, **values: int) -> int:
    return pack(
        STORE,
        **{
            "memory_type": OUT,
            "dram_base": OUT_BASE // 16,
            "y_size": 1,
            "x_size": count,
            "x_stride": count,
        }
        | values,
    )


def _alu(operation: int, **values: int) -> int:
    return pack(
        ALU, uop_begin=0, uop_end=1, **{"iter_out": 1, "iter_in": 1} | values, alu_opcode=operation
    )


def _dram(accumulators: list[list[int]], micro_ops: list[int]) -> Bytes:
    dram = np.zeros(DRAM_BYTES, np.uint8)
    lanes = np.array(accumulators, np.int64).astype(np.int32).astype("<i4").view(np.uint8).ravel()
    dram[ACC_BASE : ACC_BASE + lanes.size] = lanes
    words = np.array(micro_ops, "<u4").view(np.uint8)
    dram[UOP_BASE : UOP_BASE + words.size] = words
    return dram


def _lanes_after(dram: Bytes, *words: int) -> list[int]:
    """The whole int32 lanes of accumulator 0 after an operation, stored byte by byte."""
    prefix = [_load(ACC, ACC_BASE, 2), _load(0, UOP_BASE, 1), *words, _store(1)]
    result = np.zeros(16, np.int64)
    for byte in range(4):
        image = dram.copy()
        execute(stream(*prefix, pack(FINISH)), GEOMETRY, image)
        result |= image[OUT_BASE : OUT_BASE + 16].astype(np.int64) << (8 * byte)
        prefix[-1:] = [_alu(SHR, use_imm=1, imm=8), _store(1)]
    return [int(value) for value in reference.wrap(result)]


@pytest.mark.parametrize(
    ("imm", "expected"),
    [
        (0, [-5, 5, 2**31 - 1, -(2**31)]),
        (1, [-3, 2, 2**30 - 1, -(2**30)]),
        (31, [-1, 0, 0, -1]),
        (40, [-1, 0, 0, -1]),
        (-1, [-10, 10, -2, 0]),
        (-31, [-(2**31), -(2**31), -(2**31), 0]),
        (-32, [0, 0, 0, 0]),
        (-(2**15), [0, 0, 0, 0]),
    ],
)
def test_immediate_shift(imm: int, expected: list[int]) -> None:
    values = [-5, 5, 2**31 - 1, -(2**31)]
    dram = _dram([values * 4, [0] * 16], [micro_op(0)])
    assert _lanes_after(dram, _alu(SHR, use_imm=1, imm=imm))[:4] == expected


def test_tensor_shift_uses_the_low_five_bits_of_the_amount() -> None:
    dram = _dram([[-(2**20)] * 16, [0, 1, 31, 32, 33, -1, -32, -31] * 2], [micro_op(0, 1)])
    shifted = _lanes_after(dram, _alu(SHR))[:8]
    assert shifted == [-(2**20), -(2**19), -1, -(2**20), -(2**19), -1, -(2**20), -(2**19)]


def test_add_wraps_around() -> None:
    dram = _dram([[2**31 - 1, -(2**31)] * 8, [1, -1] * 8], [micro_op(0, 1)])
    assert _lanes_after(dram, _alu(ADD))[:2] == [-(2**31), 2**31 - 1]


def test_gemm_of_extreme_values_wraps_around() -> None:
    dram = _dram([[2**31 - 1] * 16, [0] * 16], [micro_op(0)])
    dram[0x3000 : 0x3000 + 256] = 0x80
    words = (
        _load(INP, 0x3000, 1),
        _load(WGT, 0x3000, 1),
        pack(GEMM, uop_begin=0, uop_end=1, iter_out=1, iter_in=1),
    )
    assert _lanes_after(dram, *words)[0] == -(2**31) + 2**18 - 1


def test_load_and_store_of_nothing_do_nothing() -> None:
    dram = _dram([[7] * 16, [0] * 16], [micro_op(0)])
    before = dram.copy()
    program = stream(
        _load(ACC, ACC_BASE, 1),
        pack(LOAD, memory_type=ACC, dram_base=0xFFFFFFFF, y_pad_0=15, x_pad_0=15, y_size=9),
        _store(0, dram_base=0xFFFFFFFF, y_size=5),
        _store(1),
        pack(FINISH),
    )
    execute(program, GEOMETRY, dram)
    before[OUT_BASE : OUT_BASE + 16] = 7
    np.testing.assert_array_equal(dram, before)


def test_reset_and_immediates_do_not_read_their_source() -> None:
    far = micro_op(0, 2047, 1023)
    dram = _dram([[7] * 16, [0] * 16], [far])
    loops = {"uop_end": 1, "iter_out": 2, "iter_in": 1, "src_out": 2047}
    program = stream(
        _load(ACC, ACC_BASE, 1),
        _load(0, UOP_BASE, 1),
        pack(GEMM, reset=1, wgt_out=1023, **loops),
        _alu(ADD, use_imm=1, imm=3, iter_out=1, src_out=2047),
        _store(1),
        pack(FINISH),
    )
    execute(program, GEOMETRY, dram)
    assert (dram[OUT_BASE : OUT_BASE + 16] == 3).all()


def test_empty_loops_cost_nothing_however_large_their_other_fields() -> None:
    huge = 2**14 - 1
    program = stream(
        pack(GEMM, uop_begin=5, uop_end=5, iter_out=huge, iter_in=huge),
        pack(GEMM, uop_begin=9, uop_end=3, iter_out=huge, iter_in=huge),
        pack(ALU, uop_end=8191, iter_out=0, iter_in=huge),
        pack(ALU, uop_end=8191, iter_out=huge, iter_in=0),
        pack(FINISH),
    )
    dram = np.zeros(DRAM_BYTES, np.uint8)
    execute(program, GEOMETRY, dram)
    assert not dram.any()


def test_a_prepared_program_runs_on_many_images_without_memory_of_the_last() -> None:
    # Stores an accumulator that nothing has written: always zero.
    prepared = prepare(stream(_store(1, sram_base=5), pack(FINISH)), GEOMETRY)
    loader = prepare(stream(_load(ACC, ACC_BASE, 6), _store(6), pack(FINISH)), GEOMETRY)
    for _ in range(2):
        dram = np.full(DRAM_BYTES, 9, np.uint8)
        loader.run(dram)
        prepared.run(dram)
        assert (dram[OUT_BASE : OUT_BASE + 16] == 0).all()
        assert (dram[OUT_BASE + 16 :] == 9).all()


def test_what_follows_finish_is_not_executed() -> None:
    dram = np.full(DRAM_BYTES, 9, np.uint8)
    execute(stream(pack(FINISH), _store(1)), GEOMETRY, dram)
    assert (dram == 9).all()


LOOP = {"iter_out": 1, "iter_in": 1, "uop_end": 1}


@pytest.mark.parametrize(
    ("words", "error_class", "instruction"),
    [
        ([_store(1)], "missing_finish", None),
        ([7, pack(FINISH)], "unknown_opcode", 0),
        ([_load(OUT, 0x1000, 1), pack(FINISH)], "unknown_memory_type", 0),
        ([_load(0, 0x1000, 1) | 6 << 7, pack(FINISH)], "unknown_memory_type", 0),
        ([_store(1, memory_type=ACC), pack(FINISH)], "unknown_memory_type", 0),
        ([_alu(4), pack(FINISH)], "unknown_alu_opcode", 0),
        ([_load(INP, 0x1000, 1, sram_base=2048), pack(FINISH)], "sram_out_of_range", 0),
        ([_load(WGT, 0x1000, 1, x_pad_0=2, sram_base=1022), pack(FINISH)], "sram_out_of_range", 0),
        ([_store(2, sram_base=2047), pack(FINISH)], "sram_out_of_range", 0),
        ([_store(2, dram_base=DRAM_BYTES // 16 - 1), pack(FINISH)], "dram_out_of_range", 0),
        (
            [_store(2, y_size=2, x_stride=65535), pack(FINISH)],
            "dram_out_of_range",
            0,
        ),
        ([pack(GEMM, **LOOP | {"uop_end": 2049}), pack(FINISH)], "sram_out_of_range", 0),
        (
            [
                pack(GEMM, **(LOOP | {"iter_in": 2}), dst_in=2047),
                _alu(0, iter_in=3, dst_in=1024),
                pack(FINISH),
            ],
            "sram_out_of_range",
            1,
        ),
        ([_alu(0, iter_out=3, src_out=1024), pack(FINISH)], "sram_out_of_range", 0),
        ([pack(GEMM, **LOOP | {"iter_in": 3}, src_in=1024), pack(FINISH)], "sram_out_of_range", 0),
        ([pack(GEMM, **LOOP | {"iter_in": 3}, wgt_in=512), pack(FINISH)], "sram_out_of_range", 0),
    ],
)
def test_faults_are_named_and_touch_nothing(
    words: list[int], error_class: str, instruction: int | None
) -> None:
    dram = np.zeros(DRAM_BYTES, np.uint8)
    with pytest.raises(ProgramError) as caught:
        execute(stream(*words), GEOMETRY, dram)
    assert (caught.value.error_class, caught.value.instruction) == (error_class, instruction)
    assert not dram.any()


def test_claimed_work_is_limited_before_anything_runs() -> None:
    huge = 2**14 - 1
    loops = pack(GEMM, uop_end=2048, iter_out=huge, iter_in=huge)
    with pytest.raises(ProgramError, match=r"1\.099e\+12 micro-op") as caught:
        prepare(stream(*[loops] * 2, pack(FINISH)), GEOMETRY)
    assert caught.value.error_class == "work_limit"
    prepare(stream(_alu(ADD), _alu(ADD), pack(FINISH)), GEOMETRY, micro_op_limit=2)
    with pytest.raises(ProgramError):
        prepare(stream(_alu(ADD), _alu(ADD), pack(FINISH)), GEOMETRY, micro_op_limit=1)


def test_claimed_transfers_are_limited_before_anything_runs() -> None:
    load = _load(WGT, 0x1000, 8)
    prepare(stream(load, load, pack(FINISH)), GEOMETRY, micro_op_limit=64)
    with pytest.raises(ProgramError, match="64 moves of 64 bytes; at most 63") as caught:
        prepare(stream(load, load, pack(FINISH)), GEOMETRY, micro_op_limit=63)
    assert caught.value.error_class == "work_limit"


def test_other_machines_are_refused() -> None:
    widths = ElementBytes(uop=4, inp=16, wgt=256, acc=64, out=16)
    wide = VtaGeometry(1, 32, 32, widths, GEOMETRY.depth)
    with pytest.raises(InputError, match="32x32"):
        prepare(stream(pack(FINISH)), wide)


@pytest.mark.parametrize(
    "dram",
    [
        np.zeros(64, np.int8),
        np.zeros((8, 8), np.uint8),
        np.zeros(64, np.uint8)[::2],
        np.frombuffer(bytes(64), np.uint8),
    ],
)
def test_images_that_cannot_be_written_in_place_are_refused(dram: Any) -> None:
    with pytest.raises(ValueError, match="dram must be"):
        execute(stream(pack(FINISH)), GEOMETRY, dram)


def test_smaller_buffers_are_respected() -> None:
    depth = BufferDepth(uop=8, inp=8, wgt=8, acc=8)
    small = VtaGeometry(1, 16, 16, GEOMETRY.element_bytes, depth)
    dram = np.zeros(DRAM_BYTES, np.uint8)
    execute(stream(_store(8), pack(FINISH)), small, dram)
    with pytest.raises(ProgramError):
        execute(stream(_store(9), pack(FINISH)), small, dram)
    with pytest.raises(ProgramError):
        execute(stream(_alu(0, iter_in=2, dst_in=8), pack(FINISH)), small, dram)
