"""One program from file to answer: verified, executed and timed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import TimingProfile, VtaCore
from compiler_core.units.vta.machine.profiles import PROFILES
from compiler_core.units.vta.machine.program_file import ProgramFile
from compiler_core.units.vta.simulate.functional import DEFAULT_MICRO_OP_LIMIT, prepare
from compiler_core.units.vta.simulate.timing import TimingResult, time_program
from compiler_core.units.vta.verify import first_error, verify


@dataclass(frozen=True)
class ProgramFault:
    """Why a program has no result.

    Args:
        error_class: ``deadlock``, ``sram_out_of_range``, … as the verifier names them, or
            ``work_limit``.
        message: The fault in one sentence.
        instruction: Index in the stream; None where the whole program is meant.
    """

    error_class: str
    message: str
    instruction: int | None


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What a program does, or why it is wrong.

    Args:
        dram: ``uint8[dram_size]`` after FINISH; None for a wrong program.
        timing: Cycles and counters; None for a wrong program.
        error: The first fault; None for a right program.
        warnings: Remarks that do not make the program wrong, one line each.
    """

    dram: npt.NDArray[np.uint8] | None
    timing: TimingResult | None
    error: ProgramFault | None
    warnings: tuple[str, ...]

    @property
    def cycles(self) -> int | None:
        """Clock cycles from launch to FINISH; None for a wrong program."""
        return None if self.timing is None else self.timing.cycles


def simulate(
    program: ProgramFile,
    core: VtaCore,
    *,
    profile: TimingProfile | None = None,
    trace: bool = False,
    micro_op_limit: int = DEFAULT_MICRO_OP_LIMIT,
) -> SimulationResult:
    """Verifies a program, executes it and counts its cycles.

    Args:
        program: The program and its DRAM.
        core: The machine: its geometry decides the bits, its timing and energy the rest.
        profile: Times the program by the rules and element widths of a measured RTL instead of the
            core's own. ``RTL_PIPELINED`` has 32-bit elements and takes the file's pipelined stream
            where there is one. The bits never depend on it.
        trace: Whether the timing result holds start and end of each instruction.
        micro_op_limit: Micro-op executions beyond which a program is refused with class
            ``work_limit``.

    Returns:
        DRAM, timing and warnings, or the first fault in the verifier's order.

    Raises:
        InputError: The core's geometry cannot be simulated.
    """
    dram = program.dram()
    findings = verify(program.instructions, core.geometry, dram)
    error = first_error(findings)
    warnings = tuple(str(item) for item in findings if item.severity.value == "warning")
    if program.ignored_arrays:
        warnings += (f"arrays that the format does not know: {', '.join(program.ignored_arrays)}",)
    if error is not None:
        fault = ProgramFault(error.finding_class.value, error.message, error.instruction)
        return SimulationResult(None, None, fault, warnings)
    stream, timing = program.instructions, core.timing
    if profile is not None:
        timing = PROFILES[profile]
        if profile is TimingProfile.RTL_PIPELINED and program.pipelined_instructions is not None:
            stream = program.pipelined_instructions
    try:
        prepare(program.instructions, core.geometry, micro_op_limit=micro_op_limit).run(dram)
        result = time_program(stream, timing, core.geometry, core.energy, trace=trace)
    except ProgramError as failure:
        fault = ProgramFault(failure.error_class, failure.message, failure.instruction)
        return SimulationResult(None, None, fault, warnings)
    return SimulationResult(dram, result, None, warnings)
