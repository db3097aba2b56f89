"""VTA programs as text: one instruction per line, readable, diffable, and back to the same bytes.

    load.inp    push_next sram_base=0x80 dram_base=0x100 y_size=8 x_size=10 x_stride=10
    gemm.reset  uop_end=4 iter_out=14 iter_in=14 dst_out=14 dst_in=1
    alu.shr     use_imm uop_end=4 iter_in=14 dst_in=1 src_in=1 imm=7
    finish      pop_next

The mnemonic holds the opcode and the memory type, reset or ALU operation; flags that are set stand
as bare words; other fields as ``name=value``, left out at their default (1 for ``y_size``,
``iter_out`` and ``iter_in``, 0 else). Codes that do not exist have numbers for names (``load.6``,
``alu.4``). Rows that no format describes, with an unknown opcode or reserved bits set, are
``.word`` and their 128 bits as a hexadecimal number. ``#`` begins a comment. Micro-ops are ``uop``
with ``dst``, ``src`` and ``wgt``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.isa import (
    COLUMN,
    FORMATS,
    INSTRUCTION_BYTES,
    INSTRUCTION_DTYPE,
    MICRO_OP_DTYPE,
    MICRO_OP_FIELDS,
    AluOpcode,
    Field,
    MemoryType,
    Opcode,
    decode,
    decode_micro_ops,
    encode,
    encode_micro_ops,
    reserved_bits,
)

_FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
_SWITCHES = (*_FLAGS, "use_imm")
_DEFAULTS = {"y_size": 1, "iter_out": 1, "iter_in": 1}
_HEXADECIMAL = ("sram_base", "dram_base")
_IN_MNEMONIC = ("memory_type", "reset", "alu_opcode")
_WORD = ".word"
_MNEMONIC_WIDTH = 11
_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)", re.ASCII)
_LONGEST_NUMBER = 40


class AssemblyError(InputError):
    """Text that is not a VTA program.

    Args:
        line: 1-based line.
        token: The word that is wrong.
        message: What is wrong with it and what is allowed.
    """

    def __init__(self, line: int, token: str, message: str) -> None:
        shown = token if len(token) <= 60 else token[:57] + "..."
        super().__init__(f"line {line}: {shown!r}: {message}")
        self.line = line
        self.token = token


def _mnemonics() -> dict[str, dict[str, int]]:
    """Fields that each mnemonic fixes."""
    result: dict[str, dict[str, int]] = {
        "gemm": {"opcode": Opcode.GEMM},
        "gemm.reset": {"opcode": Opcode.GEMM, "reset": 1},
        "finish": {"opcode": Opcode.FINISH},
    }
    for code in range(8):
        memory = MemoryType(code).name.lower() if code <= max(MemoryType) else str(code)
        operation = AluOpcode(code).name.lower() if code <= max(AluOpcode) else str(code)
        result[f"load.{memory}"] = {"opcode": Opcode.LOAD, "memory_type": code}
        result[f"store.{memory}"] = {"opcode": Opcode.STORE, "memory_type": code}
        for reset, suffix in enumerate(("", ".reset")):
            result[f"alu.{operation}{suffix}"] = {
                "opcode": Opcode.ALU,
                "alu_opcode": code,
                "reset": reset,
            }
    return result


_MNEMONICS = _mnemonics()
_NAMES = {
    tuple(fixed.get(name, 0) for name in ("opcode", *_IN_MNEMONIC)): mnemonic
    for mnemonic, fixed in _MNEMONICS.items()
}


def disassemble(instructions: npt.NDArray[np.uint8], *, indices: bool = False) -> str:
    """Writes a program as text.

    Args:
        instructions: ``uint8[n, 16]``; any bytes.
        indices: End each line with a comment that says the instruction's index.

    Returns:
        ``n`` lines; :func:`assemble` gives back the same bytes.

    Raises:
        ValueError: The array has another type or shape.
    """
    if instructions.dtype != np.uint8 or instructions.shape[1:] != (INSTRUCTION_BYTES,):
        seen = f"{instructions.dtype}{list(instructions.shape)}"
        raise ValueError(f"instructions: {seen} given, uint8[n, 16] is needed")
    decoded = decode(instructions)
    opaque = reserved_bits(decoded, instructions) | (decoded["opcode"] > max(Opcode))
    values = decoded.view(np.int64).reshape(len(decoded), len(COLUMN)).tolist()
    lines = []
    for index, (row, raw) in enumerate(zip(values, opaque.tolist(), strict=True)):
        if raw:
            word = int.from_bytes(instructions[index].tobytes(), "little")
            line = f"{_WORD:{_MNEMONIC_WIDTH}} {word:#034x}"
        else:
            line = _format_row(row)
        lines.append(f"{line:100} # {index}\n" if indices else f"{line}\n")
    return "".join(lines)


def _format_row(row: list[int]) -> str:
    mnemonic = _NAMES[tuple(row[COLUMN[name]] for name in ("opcode", *_IN_MNEMONIC))]
    fields = FORMATS[Opcode(row[COLUMN["opcode"]])]
    words = [f"{mnemonic:{_MNEMONIC_WIDTH}}"]
    words += [name for name in _SWITCHES if row[COLUMN[name]]]
    for name in fields:
        value = row[COLUMN[name]]
        if name in _IN_MNEMONIC or name in _SWITCHES or value == _DEFAULTS.get(name, 0):
            continue
        words.append(f"{name}={value:#x}" if name in _HEXADECIMAL else f"{name}={value}")
    return " ".join(words).rstrip()


def assemble(text: str) -> npt.NDArray[np.uint8]:
    """Reads a program from text; the inverse of :func:`disassemble`.

    Args:
        text: Lines as described above; empty lines and comments are skipped.

    Returns:
        ``uint8[n, 16]``.

    Raises:
        AssemblyError: A line is not an instruction; the error names line and word.
    """
    rows: list[tuple[int, ...]] = []
    words: dict[int, int] = {}
    for line, tokens in _token_lines(text):
        if tokens[0] == _WORD:
            words[len(rows)] = _parse_word(line, tokens)
            rows.append((0,) * len(COLUMN))
        else:
            rows.append(_parse_row(line, tokens))
    instructions = encode(np.array(rows, INSTRUCTION_DTYPE).reshape(-1))
    for index, word in words.items():
        data = word.to_bytes(INSTRUCTION_BYTES, "little")
        instructions[index] = np.frombuffer(data, np.uint8)
    return instructions


def disassemble_micro_ops(data: npt.NDArray[np.uint8], *, indices: bool = False) -> str:
    """Writes micro-ops as text, one per line.

    Args:
        data: ``uint8[4 k]``.
        indices: End each line with a comment that says the micro-op's index.

    Raises:
        ValueError: The data are no whole number of micro-ops.
    """
    if data.dtype != np.uint8 or data.ndim != 1 or len(data) % 4:
        raise ValueError(f"micro-ops: {data.dtype}{list(data.shape)} given, uint8[4 k] is needed")
    lines = []
    for index, row in enumerate(decode_micro_ops(data).tolist()):
        fields = (f"{name}={value}" for name, value in zip(MICRO_OP_FIELDS, row, strict=True))
        line = "uop " + " ".join(fields)
        lines.append(f"{line:36} # {index}\n" if indices else f"{line}\n")
    return "".join(lines)


def assemble_micro_ops(text: str) -> npt.NDArray[np.uint8]:
    """Reads micro-ops from text; the inverse of :func:`disassemble_micro_ops`.

    Returns:
        ``uint8[4 k]``.

    Raises:
        AssemblyError: A line is not a micro-op; the error names line and word.
    """
    rows = []
    for line, tokens in _token_lines(text):
        if tokens[0] != "uop":
            raise AssemblyError(line, tokens[0], "a micro-op begins with uop")
        given = _assignments(line, tokens[1:], MICRO_OP_FIELDS)
        rows.append(tuple(given.get(name, 0) for name in MICRO_OP_FIELDS))
    return encode_micro_ops(np.array(rows, MICRO_OP_DTYPE).reshape(-1))


def _token_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        tokens = line.split("#", 1)[0].split()
        if tokens:
            yield number, tokens


def _parse_word(line: int, tokens: list[str]) -> int:
    if len(tokens) != 2:
        wrong = tokens[2] if len(tokens) > 2 else tokens[0]
        raise AssemblyError(line, wrong, f"{_WORD} takes one number of 128 bits")
    word = _number(line, tokens[1], tokens[1])
    if not 0 <= word < 1 << 128:
        raise AssemblyError(line, tokens[1], "0 to 2**128 - 1 is allowed")
    return word


def _parse_row(line: int, tokens: list[str]) -> tuple[int, ...]:
    fixed = _MNEMONICS.get(tokens[0])
    if fixed is None:
        known = "load.<memory>, store.<memory>, gemm, gemm.reset, alu.<operation>, finish, .word"
        raise AssemblyError(line, tokens[0], f"unknown instruction; known are {known}")
    fields = FORMATS[Opcode(fixed["opcode"])]
    switches = {name for name in _SWITCHES if name in _FLAGS or name in fields}
    values = {name: _DEFAULTS[name] for name in fields if name in _DEFAULTS} | fixed
    assignments = []
    for token in tokens[1:]:
        if token not in switches:
            assignments.append(token)
        elif token in values:
            raise AssemblyError(line, token, "given twice")
        else:
            values[token] = 1
    free = {
        name: field
        for name, field in fields.items()
        if name not in _IN_MNEMONIC and name not in switches
    }
    values |= _assignments(line, assignments, free, sorted(switches))
    return tuple(values.get(name, 0) for name in COLUMN)


def _assignments(
    line: int, tokens: list[str], fields: Mapping[str, Field], switches: list[str] | None = None
) -> dict[str, int]:
    given: dict[str, int] = {}
    for token in tokens:
        name, equals, value = token.partition("=")
        if name not in fields or not equals:
            allowed = ", ".join([*(switches or []), *(f"{field}=" for field in fields)])
            raise AssemblyError(line, token, f"allowed are {allowed or 'no fields'}")
        if name in given:
            raise AssemblyError(line, token, f"{name} is given twice")
        given[name] = _number(line, token, value)
        low, high = fields[name].limits
        if not low <= given[name] <= high:
            raise AssemblyError(line, token, f"{low}..{high} is allowed")
    return given


def _number(line: int, token: str, text: str) -> int:
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise AssemblyError(line, token, "a decimal or 0x hexadecimal number is needed")
    return int(text, 16) if "x" in text.lower() else int(text)
