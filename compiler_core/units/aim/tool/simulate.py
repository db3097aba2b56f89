"""One program from file to answer: verified, executed and timed."""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.program_file import ProgramFile
from compiler_core.units.aim.simulate.functional import Executor
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.timing import (
    StuckError,
    TimingResult,
    WorkLimitError,
    time_program,
)
from compiler_core.units.aim.verify.findings import Finding, FindingClass
from compiler_core.units.aim.verify.verify import verify


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What a program does, or why it is wrong.

    Attributes:
        memory: Everything afterwards; ``None`` for a wrong program.
        timing: Cycles and counters; ``None`` for a wrong program.
        findings: What is wrong, the first one first.
    """

    memory: BankMemory | None
    timing: TimingResult | None
    findings: tuple[Finding, ...] = ()


def simulate(file: ProgramFile, machine: AimMachine, *, log: bool = False) -> SimulationResult:
    """Verifies a program, times it and executes it.

    Args:
        file: The program and what it begins with.
        machine: What runs it.
        log: Whether the timing keeps every command.
    """
    host = file.host_blocks
    known = None if host is None or len(host) == 0 else len(host)
    findings = verify(file.program, machine, host_blocks=known)
    if findings:
        return SimulationResult(None, None, findings)
    records = file.program.records
    try:
        timing = time_program(records, machine, log=log)
        memory = BankMemory(machine)
        memory.load_banks(file.bank_addresses, file.bank_blocks)
        memory.registers[file.register_numbers] = file.register_blocks
        Executor(memory, host).run(records)
    except WorkLimitError as error:
        fault = Finding(
            FindingClass.WORK_LIMIT, len(records) - 1, error.message, error.demand, error.bound
        )
        return SimulationResult(None, None, (fault,))
    except StuckError as error:
        fault = Finding(FindingClass.STUCK, error.instruction, error.message, 1, 0)
        return SimulationResult(None, None, (fault,))
    return SimulationResult(memory, timing)
