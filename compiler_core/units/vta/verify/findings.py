"""What the verifier reports: classes of findings in the order in which a simulator reports them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

MAX_FINDINGS_PER_CLASS = 100
"""Findings of one class beyond this number are dropped, so that reports stay small."""


class FindingClass(Enum):
    """Kinds of findings, in reporting order; the values are the names in files and messages."""

    UNKNOWN_OPCODE = "unknown_opcode"
    UNKNOWN_ALU_OPCODE = "unknown_alu_opcode"
    UNKNOWN_MEMORY_TYPE = "unknown_memory_type"
    MISSING_FINISH = "missing_finish"
    FINISH_NOT_LAST = "finish_not_last"
    ILLEGAL_DEPENDENCE_FLAG = "illegal_dependence_flag"
    ZERO_LENGTH_LOOP = "zero_length_loop"
    ILLEGAL_FIELD = "illegal_field"
    SRAM_OUT_OF_RANGE = "sram_out_of_range"
    DRAM_OUT_OF_RANGE = "dram_out_of_range"
    DEADLOCK = "deadlock"
    TOKEN_LEFT_OVER = "token_left_over"
    FINISH_NOT_ORDERED = "finish_not_ordered"
    DATA_RACE = "data_race"
    HARDWARE_RULE = "hardware_rule"
    UNINITIALISED_READ = "uninitialised_read"


class Severity(Enum):
    """An error makes a program wrong; a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


_GROUPS = (
    (
        FindingClass.UNKNOWN_OPCODE,
        FindingClass.UNKNOWN_ALU_OPCODE,
        FindingClass.UNKNOWN_MEMORY_TYPE,
    ),
    (FindingClass.MISSING_FINISH, FindingClass.FINISH_NOT_LAST),
    (FindingClass.ILLEGAL_DEPENDENCE_FLAG,),
    (FindingClass.ZERO_LENGTH_LOOP, FindingClass.ILLEGAL_FIELD),
    (FindingClass.SRAM_OUT_OF_RANGE, FindingClass.DRAM_OUT_OF_RANGE),
    (FindingClass.DEADLOCK,),
    (FindingClass.TOKEN_LEFT_OVER,),
    (FindingClass.FINISH_NOT_ORDERED,),
    (FindingClass.DATA_RACE,),
    (FindingClass.HARDWARE_RULE,),
    (FindingClass.UNINITIALISED_READ,),
)
_RANK = {
    finding_class: (group, rank)
    for group, members in enumerate(_GROUPS)
    for rank, finding_class in enumerate(members)
}


@dataclass(frozen=True)
class Finding:
    """One rule that a program breaks.

    Args:
        finding_class: Which rule.
        severity: Whether the program is wrong.
        instruction: Index in the stream; None where the finding is about the whole program.
        resource: The field, memory, token counter or code that it is about.
        demanded: What the program asks for.
        allowed: What the machine allows.
        message: The finding as one sentence.
    """

    finding_class: FindingClass
    severity: Severity
    instruction: int | None
    resource: str
    demanded: str
    allowed: str
    message: str

    def __str__(self) -> str:
        where = "program" if self.instruction is None else f"instruction {self.instruction}"
        return f"{self.severity.value}: {self.finding_class.value}: {where}: {self.message}"


def finding(
    finding_class: FindingClass,
    instruction: int | None,
    resource: str,
    demanded: object,
    allowed: object,
    message: str,
    *,
    severity: Severity = Severity.ERROR,
) -> Finding:
    """Builds a finding whose message ends with what was demanded and what is allowed."""
    text = f"{message} ({resource}: {demanded}; allowed: {allowed})"
    return Finding(
        finding_class, severity, instruction, resource, str(demanded), str(allowed), text
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorts by severity, group of classes, instruction and class; caps each class."""
    kept: list[Finding] = []
    counts: dict[tuple[FindingClass, Severity], int] = {}
    for item in sorted(findings, key=_sort_key):
        key = item.finding_class, item.severity
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= MAX_FINDINGS_PER_CLASS:
            kept.append(item)
    return tuple(kept)


def _sort_key(item: Finding) -> tuple[int, int, int, int]:
    group, rank = _RANK[item.finding_class]
    where = -1 if item.instruction is None else item.instruction
    return int(item.severity is Severity.WARNING), group, where, rank


def first_error(findings: Sequence[Finding]) -> Finding | None:
    """The finding that a simulator reports: the first error, or None without errors."""
    return next((item for item in findings if item.severity is Severity.ERROR), None)
