"""What to change in a wrong program, by the class of its error."""

from __future__ import annotations

from compiler_core.units.vta.simulate.functional import WORK_LIMIT_CLASS
from compiler_core.units.vta.verify import FindingClass

TOO_LONG_CLASS = "too_long"
"""Error class of a program that the timing simulator refuses for its length."""

_OPCODES = "the opcodes are 0 LOAD, 1 STORE, 2 GEMM, 3 FINISH and 4 ALU"
_RANGES = "the last element of the transfer or loop counts, padding and strides included"

ADVICE: dict[str, str] = {
    FindingClass.UNKNOWN_OPCODE.value: _OPCODES,
    FindingClass.UNKNOWN_ALU_OPCODE.value: "the ALU has 0 MIN, 1 MAX, 2 ADD and 3 SHR",
    FindingClass.UNKNOWN_MEMORY_TYPE.value: (
        "the memory types are 0 uop, 1 wgt, 2 inp, 3 acc and 4 out"
    ),
    FindingClass.MISSING_FINISH.value: "end the program with one FINISH",
    FindingClass.FINISH_NOT_LAST.value: "move FINISH to the end and remove others",
    FindingClass.ILLEGAL_DEPENDENCE_FLAG.value: (
        "loads of inp and wgt have the next flags only, stores the prev flags only"
    ),
    FindingClass.ZERO_LENGTH_LOOP.value: (
        "leave the instruction out, or give both loops and the micro-op range at least one step"
    ),
    FindingClass.ILLEGAL_FIELD.value: "set the named field to what is allowed",
    FindingClass.SRAM_OUT_OF_RANGE.value: _RANGES,
    FindingClass.DRAM_OUT_OF_RANGE.value: f"{_RANGES}; --dram-size sets the size of DRAM",
    FindingClass.DEADLOCK.value: (
        "add the push to the instruction that must come before, or remove the pop"
    ),
    FindingClass.TOKEN_LEFT_OVER.value: "pop each token that is pushed, or remove the push",
    FindingClass.FINISH_NOT_ORDERED.value: (
        "let the last load and store push a token that FINISH, or what is before it, pops"
    ),
    FindingClass.DATA_RACE.value: "order the two instructions by a token from one to the other",
    FindingClass.HARDWARE_RULE.value: (
        "the functional simulators accept it, the hardware computes something else"
    ),
    FindingClass.UNINITIALISED_READ.value: "load or reset what is read",
    WORK_LIMIT_CLASS: "split the program; its loop fields may be larger than meant",
    TOO_LONG_CLASS: "split the program; its loop fields may be larger than meant",
}
