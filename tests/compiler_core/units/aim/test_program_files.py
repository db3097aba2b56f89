"""Texts and files: what they hold comes back, and whatever is wrong is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.instructions import OPERANDS, Opcode, Program
from compiler_core.units.aim.program.program_file import (
    ProgramFile,
    read_program_file,
)
from compiler_core.units.aim.program.text import format_text, parse_text
from compiler_core.units.aim.verify.verify import verify
from tests.compiler_core.units.aim.random_programs import FLAVOURS, legal_program
from tests.compiler_core.units.aim.vectors import arrays, lines
from tests.compiler_core.units.aim.written_programs import write_program_file

MACHINE = AimMachine()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_both_forms_hold_a_program(flavour: str, tmp_path: Path) -> None:
    records = legal_program(np.random.default_rng(5), 60, flavour)
    path = tmp_path / "p.npz"
    write_program_file(path, ProgramFile(Program(records)))
    assert np.array_equal(read_program_file(path, MACHINE).program.records, records)
    text = tmp_path / "p.txt"
    text.write_text("\n".join(format_text(records)))
    again = read_program_file(text, MACHINE).program.records
    for number, op in enumerate(records["op"].tolist()):
        for name in OPERANDS[Opcode(op)]:
            kept = name != "value" or op == Opcode.W_CFR
            assert not kept or again[name][number] == records[name][number]


def test_texts_of_the_vectors_come_back() -> None:
    for entry in lines().values():
        if not entry["name"].startswith("ill_"):
            assert [" ".join(line.split()) for line in entry["trace"]] == format_text(
                parse_text(entry["trace"]).records
            )


def test_comments_blanks_and_hexadecimal() -> None:
    text = ["# a comment", "", "   ", "\tAiM  MAC_ABK 0x4   1 0X10 ", "AiM EOC\r"]
    found = parse_text(text)
    assert not found.complaints
    assert found.records[["op", "n", "mask", "row"]].tolist() == [(15, 4, 1, 16), (20, 0, 0, 0)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("AiM", "syntax"),
        ("aim EOC", "syntax"),
        ("AiM WR_AFLUT 0 1", "syntax"),
        ("R CFR 0", "syntax"),
        ("W GPR", "syntax"),
        ("W GPR 1 2", "syntax"),
        ("W GPR one", "syntax"),
        ("W GPR 1.0", "syntax"),
        ("W GPR ٣", "syntax"),
        ("W GPR 4096", "gpr"),
        ("W GPR -1", "gpr"),
        (f"W GPR {'9' * 100_000}", "gpr"),
        (f"AiM AF 0x{'f' * 1000}", "mask"),
        ("AiM EWADD 64 4090 0", "gpr"),
        ("AiM EWADD 2 0 4095", "gpr"),
        ("W MEM -1 0 0", "channel"),
        ("W CFR -1 0", "cfr"),
    ],
)
def test_wrong_lines(line: str, error: str) -> None:
    first = verify(parse_text([line, "AiM EOC"]), MACHINE)[0]
    assert (first.finding_class.value, first.instruction) == (error, 0)
    assert len(first.message) < 300


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "p"
    path.write_bytes(data)
    try:
        file = read_program_file(path, MACHINE)
    except InputError:
        return
    assert verify(file.program, MACHINE)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "p.npz"
    records = legal_program(np.random.default_rng(3), 20, "mixed")
    write_program_file(path, ProgramFile(Program(records)))
    return path.read_bytes()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(0, 255), st.booleans())
def test_damaged_files(
    whole_file: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: bool
) -> None:
    data, place = bytearray(whole_file), place % len(whole_file)
    data[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "p.npz"
    path.write_bytes(data[:place] if cut else data)
    try:
        file = read_program_file(path, MACHINE)
    except InputError:
        return
    verify(file.program, MACHINE)


WRONG = {
    "none": {"other": np.zeros(3)},
    "no records": {"program": np.zeros(3)},
    "two axes": {"program": np.zeros((2, 2), np.uint8)},
    "half a pair": {"gpr_addr": np.zeros(1, np.int32)},
    "channel": {
        "bank_addr": np.array([[32, 0, 0, 0]]), "bank_data": np.zeros((1, 16), np.uint16),
    },
    "row": {
        "bank_addr": np.array([[0, 0, -1, 0]]), "bank_data": np.zeros((1, 16), np.uint16),
    },
    "register": {"gpr_addr": np.array([4096]), "gpr_data": np.zeros((1, 16), np.uint16)},
    "lanes": {"gpr_addr": np.array([0]), "gpr_data": np.zeros((1, 15), np.uint16)},
    "type": {"gpr_addr": np.array([0]), "gpr_data": np.zeros((1, 16), np.float32)},
    "host": {"host_data": np.zeros((1, 16), np.int64)},
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(case: str, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    write_program_file(path, ProgramFile(parse_text(["AiM EOC"])))
    given = {} if case == "none" else {"program": arrays(path)["program"]}
    np.savez(path, **(given | WRONG[case]))
    with pytest.raises(InputError, match=r"p\.npz"):
        read_program_file(path, MACHINE)
