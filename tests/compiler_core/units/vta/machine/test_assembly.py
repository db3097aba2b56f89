"""Programs as text."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.assembly import (
    AssemblyError,
    assemble,
    assemble_micro_ops,
    disassemble,
    disassemble_micro_ops,
)
from compiler_core.units.vta.machine.isa import COLUMN, COMMON_FIELDS, FORMATS, Opcode, decode
from tests.compiler_core.units.vta.vectors import PROGRAMS, VECTORS

TEXT = """\
load.inp    push_next sram_base=0x80 dram_base=0x100 y_size=8 x_size=10 x_stride=10
load.acc    dram_base=0x40 x_size=3 x_stride=3 y_pad_0=1 x_pad_1=2
gemm.reset  uop_end=4 iter_out=14 iter_in=14 dst_out=14 dst_in=1
gemm        pop_prev uop_begin=4 uop_end=6 src_out=30 wgt_in=9
alu.shr     use_imm uop_end=4 iter_in=14 dst_in=1 src_in=1 imm=-7
store.out   pop_prev push_prev dram_base=0x400 x_size=16 x_stride=16
load.6      y_size=0
alu.5       iter_out=0
.word       0x00000000000000000000000000000007
finish      pop_next
"""


@st.composite
def rows_without_reserved_bits(draw):
    opcode = draw(st.sampled_from(list(Opcode)))
    word = int(opcode)
    for name, field in (COMMON_FIELDS | FORMATS[opcode]).items():
        if name != "opcode":
            # Small values and defaults as often as any other.
            value = draw(
                st.integers(0, min(3, (1 << field.width) - 1))
                | st.integers(0, (1 << field.width) - 1)
            )
            word |= value << field.low
    return word.to_bytes(16, "little")


def test_text_is_stable():
    assert disassemble(assemble(TEXT)) == TEXT


def test_fields_and_defaults_mean_what_they_say():
    decoded = decode(assemble(TEXT))
    row = dict(zip(COLUMN, decoded[4].tolist(), strict=True))
    expected = {"opcode": 4, "alu_opcode": 3, "use_imm": 1, "uop_end": 4, "iter_in": 14, "imm": -7}
    expected |= {"dst_in": 1, "src_in": 1, "iter_out": 1}
    assert row == dict.fromkeys(COLUMN, 0) | expected
    assert decoded["y_size"][[0, 1, 6]].tolist() == [8, 1, 0]
    assert decoded["memory_type"].tolist()[:2] == [2, 3]
    assert decoded["push_next"][0] == 1


def test_layout_comments_and_number_forms_do_not_matter():
    plain = assemble("load.wgt push_next sram_base=0x10 dram_base=32 x_size=2\n")
    other = "\n# a comment\r\n  load.wgt dram_base=0X20  x_size=+2 sram_base=16 push_next # end\n\n"
    np.testing.assert_array_equal(assemble(other), plain)


def test_indices_are_comments():
    text = disassemble(assemble(TEXT), indices=True)
    assert [int(line.rsplit("# ", 1)[1]) for line in text.splitlines()] == list(range(10))
    np.testing.assert_array_equal(assemble(text), assemble(TEXT))


def test_nothing_is_nothing():
    assert disassemble(np.zeros((0, 16), np.uint8)) == ""
    assert assemble("# only a comment").shape == (0, 16)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 5), st.just(16))), st.booleans())
def test_any_bytes_round_trip(rows, indices):
    np.testing.assert_array_equal(assemble(disassemble(rows, indices=indices)), rows)


@given(st.lists(rows_without_reserved_bits(), min_size=1, max_size=5))
def test_every_defined_instruction_has_a_mnemonic_and_round_trips(rows):
    data = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)
    text = disassemble(data)
    assert ".word" not in text
    assert len(text.splitlines()) == len(rows)
    np.testing.assert_array_equal(assemble(text), data)


@given(st.integers(0, 8).flatmap(lambda k: hnp.arrays(np.uint8, 4 * k)), st.booleans())
def test_micro_ops_round_trip(data, indices):
    text = disassemble_micro_ops(data, indices=indices)
    assert len(text.splitlines()) == len(data) // 4
    np.testing.assert_array_equal(assemble_micro_ops(text), data)


def test_micro_op_text():
    word = 5 | 7 << 11 | 9 << 22
    data = np.frombuffer(word.to_bytes(4, "little"), np.uint8)
    assert disassemble_micro_ops(data) == "uop dst=5 src=7 wgt=9\n"


@given(st.text(max_size=80))
def test_any_text_is_a_program_or_one_clear_error(text):
    for read in (assemble, assemble_micro_ops):
        with contextlib.suppress(AssemblyError):
            assert read(text).dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "line", "token", "message"),
    [
        ("finish\njump", 2, "jump", "unknown instruction"),
        ("load.uop x_size", 1, "x_size", "allowed are"),
        ("gemm imm=3", 1, "imm=3", "allowed are"),
        ("finish use_imm", 1, "use_imm", "allowed are"),
        ("\n\nload.inp x_size=1 x_size=2", 3, "x_size=2", "x_size is given twice"),
        ("gemm pop_prev pop_prev", 1, "pop_prev", "given twice"),
        ("gemm iter_in=16384", 1, "iter_in=16384", r"0\.\.16383 is allowed"),
        ("alu.add use_imm imm=-32769", 1, "imm=-32769", r"-32768\.\.32767 is allowed"),
        ("load.inp x_size=many", 1, "x_size=many", "a decimal or 0x hexadecimal number"),
        ("load.inp x_size=1_0", 1, "x_size=1_0", "a decimal or 0x hexadecimal number"),
        (".word", 1, ".word", "takes one number"),
        (".word 1 2", 1, "2", "takes one number"),
        (".word 0x1" + 32 * "0", 1, "0x1" + 32 * "0", "is allowed"),
    ],
)
def test_errors_name_line_and_token(text, line, token, message):
    with pytest.raises(AssemblyError, match=message) as caught:
        assemble(text)
    assert (caught.value.line, caught.value.token) == (line, token)
    assert isinstance(caught.value, InputError)


def test_micro_op_errors_name_line_and_token():
    with pytest.raises(AssemblyError, match=r"0\.\.2047 is allowed") as caught:
        assemble_micro_ops("uop dst=1\nuop src=2048")
    assert (caught.value.line, caught.value.token) == (2, "src=2048")
    with pytest.raises(AssemblyError, match="begins with uop"):
        assemble_micro_ops("gemm")


@pytest.mark.parametrize("shape", [(16,), (2, 15), (1, 2, 16)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"uint8\[n, 16\] is needed"):
        disassemble(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="is needed"):
        disassemble_micro_ops(np.zeros(3, np.uint8))


def test_conformance_programs_round_trip():
    for program in PROGRAMS:
        with np.load(VECTORS / program["file"], allow_pickle=False) as arrays:
            rows = arrays["insn"]
        np.testing.assert_array_equal(assemble(disassemble(rows)), rows)
