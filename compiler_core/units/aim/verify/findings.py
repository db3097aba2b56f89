"""What the verifier finds: the class of an error, where it is, what is demanded and allowed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FindingClass(Enum):
    """Kinds of errors; the value is its name in documents, the docstring of each the advice."""

    SYNTAX = "syntax"
    EOC_NOT_LAST = "eoc_not_last"
    NO_EOC = "no_eoc"
    MASK = "mask"
    MASK_SINGLE = "mask_single"
    CHANNEL = "channel"
    COUNT = "count"
    BANK = "bank"
    ROW = "row"
    CFR = "cfr"
    GPR = "gpr"
    HOST_DATA = "host_data"
    GPR_PENDING = "gpr_pending"
    GB_UNWRITTEN = "gb_unwritten"
    ACC_UNWRITTEN = "acc_unwritten"
    ACC_LOST = "acc_lost"
    AF_UNWRITTEN = "af_unwritten"
    WORK_LIMIT = "work_limit"
    STUCK = "stuck"


ADVICE: dict[FindingClass, str] = {
    FindingClass.SYNTAX: "docs/aim.md lists the instructions with their operands",
    FindingClass.EOC_NOT_LAST: "leave out what follows EOC",
    FindingClass.NO_EOC: "end the program with AiM EOC",
    FindingClass.MASK: "select channels of the machine: bit i is channel 31 - i",
    FindingClass.MASK_SINGLE: "write an instruction per channel: WR_ABK takes one",
    FindingClass.CHANNEL: "name a channel of the machine",
    FindingClass.COUNT: "cut the instruction at the end of the row",
    FindingClass.BANK: "name a bank; with BROADCAST = 1, an even one",
    FindingClass.ROW: "name a row of the machine",
    FindingClass.CFR: "registers are 0 BROADCAST, 1 EWMUL_BG and 2 AFM",
    FindingClass.GPR: "use general registers that exist, for all blocks of the instruction",
    FindingClass.HOST_DATA: "let value index the blocks of host_data",
    FindingClass.GPR_PENDING: "put a SYNC between RD_SBK and what uses its registers",
    FindingClass.GB_UNWRITTEN: "write the columns with WR_GB or COPY_BKGB first",
    FindingClass.ACC_UNWRITTEN: "write the accumulators with WR_BIAS first",
    FindingClass.ACC_LOST: "take the sums with RD_MAC or AF first",
    FindingClass.AF_UNWRITTEN: "compute them with AF first",
    FindingClass.WORK_LIMIT: "cut the program in several",
    FindingClass.STUCK: "put a SYNC between single accesses and instructions of all banks",
}


@dataclass(frozen=True)
class Finding:
    """One error.

    Attributes:
        finding_class: Its kind.
        instruction: Index in the program.
        what: What is wrong, in a few words.
        demand, bound: What the instruction asks for, and what there is at most (or at least).
    """

    finding_class: FindingClass
    instruction: int
    what: str
    demand: int
    bound: int

    @property
    def message(self) -> str:
        """The error in one sentence."""
        return f"{self.what}: {self.demand} demanded, {self.bound} allowed"

    @property
    def advice(self) -> str:
        """What to change."""
        return ADVICE[self.finding_class]
