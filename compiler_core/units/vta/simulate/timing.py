"""Cycle-exact timing of a VTA program from launch to FINISH.

The event loop is compiled (:mod:`compiler_core.units.vta.simulate.timing_kernel`, loaded on first
use). It follows the measured rules of two RTLs, ``rtl2020`` and ``rtl-pipelined``; every number
comes from :class:`~compiler_core.units.vta.machine.hardware.VtaTiming`. Where the rules leave a
choice, this was decided:

* ``rtl-pipelined``: within a cycle the port first takes a burst into service, then accepts a
  command. A command that is accepted in the cycle in which the last waiting burst was taken starts
  a new latency (the other order is 15 cycles short on one conformance program).
* A batch of the fetch unit that needs several bursts (short bursts) asks for them like a LOAD of
  one row and is handed out after the last one. ``rtl2020`` adds the memory latency to each read.
* Micro-op LOADs repeat per row and ignore padding. LOAD and STORE with ``x_size`` or ``y_size`` 0
  are no-operations.
* Empty loops execute no micro-op and cost the fixed part. Token counters saturate at 255.
* Bursts shorter than the address boundary are cut at multiples of their own bytes.
* A STORE counts ``ceil(element bytes / port bytes)`` beats per element at any width.
* Flags that a module does not have (prev of LOAD, next of STORE) are ignored.

Timing does not judge a program: the verifier does. It only refuses what has no cycle count.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import (
    TimingProfile,
    VtaEnergy,
    VtaGeometry,
    VtaTiming,
)
from compiler_core.units.vta.machine.isa import COLUMN, INSTRUCTION_BYTES, Opcode, decode
from compiler_core.units.vta.simulate.timing_result import (
    Activity,
    Actor,
    EnergyBreakdown,
    MemoryTraffic,
    MicroOps,
    TimingResult,
    TimingTrace,
    Traffic,
    WaitCause,
)

__all__ = [
    "Activity",
    "Actor",
    "EnergyBreakdown",
    "MemoryTraffic",
    "MicroOps",
    "TimingDeadlock",
    "TimingLimitError",
    "TimingResult",
    "TimingTrace",
    "Traffic",
    "WaitCause",
    "time_decoded",
    "time_program",
]

_EVENTS_PER_INSTRUCTION: Final = 1 << 15
"""More than a LOAD that fills the largest buffer in the shortest bursts takes."""
_EVENTS_PER_PROGRAM: Final = 1 << 20


class TimingDeadlock(ProgramError):  # noqa: N818 - named after the finding
    """The program stops before FINISH: nothing can happen any more."""


class TimingLimitError(ProgramError):
    """The program takes more events or cycles than a simulation is allowed."""


def time_program(
    instructions: npt.NDArray[np.uint8],
    core_timing: VtaTiming,
    geometry: VtaGeometry,
    energy: VtaEnergy | None = None,
    *,
    trace: bool = False,
    step_limit: int | None = None,
) -> TimingResult:
    """Simulates the timing of an instruction stream.

    Args:
        instructions: ``uint8[n, 16]``.
        core_timing: Rules and costs; its element widths give DRAM addresses and beats.
        geometry: Shape of the core, for energy.
        energy: Energy per event; None leaves energy out.
        trace: Whether to return start and end of each instruction.
        step_limit: Largest number of events to simulate; None allows what no LOAD or STORE that
            fits the buffers exceeds.

    Returns:
        Cycles, accounts, traffic and energy.

    Raises:
        InputError: Not an instruction stream.
        ProgramError: No module executes one of its instructions.
        TimingDeadlock: The program never reaches FINISH.
        TimingLimitError: It takes more than ``step_limit`` events, or more than 2**60 cycles.
    """
    decoded = decode_stream(instructions)
    return time_decoded(decoded, core_timing, geometry, energy, trace=trace, step_limit=step_limit)


def decode_stream(instructions: npt.NDArray[np.uint8], where: str = "") -> npt.NDArray[np.void]:
    """Fields of an instruction stream: structured array ``[n]`` of ``INSTRUCTION_DTYPE``.

    Args:
        instructions: ``uint8[n, 16]``.
        where: What errors begin with.

    Raises:
        InputError: Not an instruction stream.
    """
    if (
        instructions.dtype != np.uint8
        or instructions.ndim != 2
        or instructions.shape[1] != INSTRUCTION_BYTES
    ):
        raise InputError(
            f"{where}instructions are {instructions.dtype}{list(instructions.shape)}, "
            f"expected uint8[n, {INSTRUCTION_BYTES}]"
        )
    return decode(instructions)


def time_decoded(
    decoded: npt.NDArray[np.void],
    core_timing: VtaTiming,
    geometry: VtaGeometry,
    energy: VtaEnergy | None = None,
    *,
    trace: bool = False,
    step_limit: int | None = None,
) -> TimingResult:
    """Simulates decoded instructions, structured array ``[n]`` of ``INSTRUCTION_DTYPE``.

    See :func:`time_program` for the other arguments, the result and the errors.
    """
    from compiler_core.units.vta.simulate import timing_kernel as kernel

    n = len(decoded)
    if step_limit is None:
        step_limit = default_step_limit(n)
    program, modules = route_program(decoded)
    machine = pack_timing(core_timing, step_limit)
    record = np.full((kernel.RECORD_ROWS, n), -1, np.int64)
    record[kernel.PORT_WAIT] = 0
    traffic = np.zeros((kernel.TRAFFIC_ROWS, kernel.TRAFFIC_COLUMNS), np.int64)
    work = np.zeros(kernel.WORK_ROWS, np.int64)
    heads = np.zeros(4, np.int64)
    summary = np.zeros(kernel.SUMMARY, np.int64)
    status = kernel.simulate(program, modules, *machine, record, traffic, work, heads, summary)
    cycles = int(summary[kernel.CYCLES])
    if status == kernel.DEADLOCK:
        raise deadlock(decoded, heads, cycles)
    if status == kernel.LIMIT:
        raise TimingLimitError(
            f"the program is still running at cycle {cycles} after {int(summary[kernel.STEPS])} "
            f"events, allowed are {step_limit} events and {kernel.CYCLE_LIMIT} cycles",
            error_class="too_long",
            instruction=None,
            hint="verify the program; LOADs and loops of this size do not fit the machine",
        )
    return timing_result(
        modules, record, traffic, work, summary, core_timing, geometry, energy, trace=trace
    )


def default_step_limit(instructions: int) -> int:
    """Events that no program whose LOADs and STOREs fit the buffers exceeds."""
    return _EVENTS_PER_PROGRAM + _EVENTS_PER_INSTRUCTION * instructions


def route_program(
    decoded: npt.NDArray[np.void],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Decoded instructions as the kernels take them.

    Returns:
        ``int64[n, len(COLUMN)]``, and the module of each instruction, ``int8[n]``.

    Raises:
        ProgramError: No module executes one of them.
    """
    from compiler_core.units.vta.simulate import timing_kernel as kernel

    program = np.ascontiguousarray(decoded).view(np.int64).reshape(len(decoded), len(COLUMN))
    modules = np.zeros(len(decoded), np.int8)
    unroutable = kernel.route(program, modules)
    if unroutable >= 0:
        raise _unroutable(decoded[unroutable], unroutable)
    return program, modules


def pack_timing(
    core_timing: VtaTiming, step_limit: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rules and costs as the kernels take them: parameters, costs, element bytes."""
    costs = core_timing.costs
    cost_table = np.array(
        [
            [cost.per_micro_op, cost.fixed]
            for cost in (costs.gemm, costs.gemm_reset, costs.alu_immediate, costs.alu_tensor)
        ],
        np.int64,
    )
    parameters = np.array(
        [
            core_timing.profile is TimingProfile.RTL_PIPELINED,
            core_timing.port_bytes,
            core_timing.burst_beats,
            core_timing.burst_boundary_bytes,
            core_timing.memory_latency_cycles,
            core_timing.outstanding_bursts,
            core_timing.queue_depth,
            core_timing.fetch_batch_instructions,
            costs.no_operation,
            costs.finish,
            step_limit,
        ],
        np.int64,
    )
    widths = core_timing.element_bytes
    element_bytes = np.array([widths.uop, widths.wgt, widths.inp, widths.acc, widths.out], np.int64)
    return parameters, cost_table, element_bytes


def timing_result(
    modules: npt.NDArray[np.int8],
    record: npt.NDArray[np.int64],
    traffic: npt.NDArray[np.int64],
    work: npt.NDArray[np.int64],
    summary: npt.NDArray[np.int64],
    core_timing: VtaTiming,
    geometry: VtaGeometry,
    energy: VtaEnergy | None,
    *,
    trace: bool,
) -> TimingResult:
    """Accounts for what a kernel recorded of one core that reached FINISH."""
    from compiler_core.units.vta.simulate import timing_account as account
    from compiler_core.units.vta.simulate import timing_kernel as kernel

    cycles = int(summary[kernel.CYCLES])
    waits = np.zeros((2, len(modules)), np.int64)
    accounts = np.zeros((3, account.ACCOUNT_COLUMNS), np.int64)
    account.account_modules(
        modules,
        record[kernel.START],
        record[kernel.END],
        record[kernel.HANDED_OUT],
        record[kernel.PORT_WAIT],
        cycles,
        waits,
        accounts,
    )
    load, compute, store = (Activity(*row) for row in accounts.tolist())
    micro_ops = MicroOps(*work.tolist())
    memory = MemoryTraffic(*(Traffic(*row[:3]) for row in traffic.tolist()))
    return TimingResult(
        cycles=cycles,
        fetch=_fetch_activity(cycles, *summary.tolist()[kernel.FETCH_END :][:3]),
        load=load,
        compute=compute,
        store=store,
        traffic=memory,
        micro_ops=micro_ops,
        mac_utilization=micro_ops.gemm / cycles,
        energy=None
        if energy is None
        else _energy(
            micro_ops,
            memory,
            traffic[:, kernel.SRAM_ELEMENTS].tolist(),
            core_timing.port_bytes,
            geometry,
            energy,
        ),
        trace=_trace(modules, record, waits) if trace else None,
    )


def _fetch_activity(cycles: int, end: int, port_wait: int, queue_wait: int) -> Activity:
    return Activity(
        busy_cycles=end - port_wait - queue_wait,
        token_stall_cycles=0,
        port_stall_cycles=port_wait,
        fetch_stall_cycles=0,
        queue_stall_cycles=queue_wait,
        idle_cycles=cycles - end,
    )


def _trace(
    modules: npt.NDArray[np.int8], record: npt.NDArray[np.int64], waits: npt.NDArray[np.int64]
) -> TimingTrace:
    start, end, handed_out, port_wait = record
    fetch_wait, token_wait = waits
    cause = np.where(fetch_wait > 0, np.int8(WaitCause.FETCH), np.int8(WaitCause.NONE))
    cause[token_wait > 0] = WaitCause.TOKEN
    return TimingTrace(
        actor=modules,
        handed_out_cycle=handed_out,
        start_cycle=start,
        end_cycle=end,
        wait_cause=cause,
        fetch_wait_cycles=fetch_wait,
        token_wait_cycles=token_wait,
        port_stall_cycles=port_wait,
    )


def _energy(
    micro_ops: MicroOps,
    memory: MemoryTraffic,
    sram_elements: list[int],
    port_bytes: int,
    geometry: VtaGeometry,
    energy: VtaEnergy,
) -> EnergyBreakdown:
    """Counts events and weighs them.

    Every micro-op execution reads its micro-op. A GEMM reads an input and a weight element, reads
    and writes an accumulator and writes the output element; a reset writes an accumulator; an ALU
    operation reads one or two accumulators and writes one and the output element. LOADs write what
    they fill, padding included; a STORE reads output elements. Micro-op, input and output buffers
    are small SRAMs, weight and accumulator large ones. An ALU operation counts as one add per lane.
    A DRAM access is 64 bits of a beat, instruction fetch included.
    """
    widths = geometry.element_bytes
    uop, wgt, inp, acc, out = (
        -(-width // 8) for width in (widths.uop, widths.wgt, widths.inp, widths.acc, widths.out)
    )
    gemm, reset, alu = micro_ops.gemm, micro_ops.gemm_reset, micro_ops.alu
    uop_filled, wgt_filled, inp_filled, acc_filled, out_drained = sram_elements[:5]
    small = uop * (gemm + reset + alu) + inp * gemm + out * (gemm + alu)
    small += -(-uop_filled * widths.uop // 8) + inp * inp_filled + out * out_drained
    large = wgt * gemm + acc * (2 * gemm + reset + 2 * alu + micro_ops.alu_tensor)
    large += wgt * wgt_filled + acc * acc_filled
    multiplies = gemm * geometry.batch * geometry.block_in * geometry.block_out
    adds = multiplies + alu * geometry.batch * geometry.block_out
    dram = (memory.read_beats + memory.write_beats) * port_bytes / 8
    return EnergyBreakdown(
        multiply_pj=multiplies * energy.int8_multiply_pj,
        add_pj=adds * energy.int32_add_pj,
        small_sram_pj=small * energy.small_sram_64bit_pj,
        large_sram_pj=large * energy.large_sram_64bit_pj,
        dram_pj=dram * energy.dram_64bit_pj,
    )


def deadlock(
    decoded: npt.NDArray[np.void], heads: npt.NDArray[np.int64], cycle: int
) -> TimingDeadlock:
    """What a program that cannot go on is refused with; ``heads`` are where its actors stand."""
    waiting = [
        f"{actor.name.lower()} at instruction {head} ({Opcode(int(decoded['opcode'][head])).name})"
        for actor, head in zip(Actor, heads.tolist(), strict=True)
        if head >= 0
    ]
    reason = (
        f"waiting: {', '.join(waiting)}"
        if waiting
        else f"all {len(decoded)} instructions are complete and none is FINISH"
    )
    instructions = [head for head in heads.tolist() if head >= 0]
    return TimingDeadlock(
        f"deadlock at cycle {cycle}: the program never reaches FINISH; {reason}",
        error_class="deadlock" if waiting else "missing_finish",
        instruction=min(instructions, default=None),
        hint="verify the program; a token is popped that is never pushed, or FINISH is missing",
    )


def _unroutable(row: np.void, instruction: int) -> ProgramError:
    opcode, memory_type = int(row["opcode"]), int(row["memory_type"])
    if opcode in (Opcode.LOAD, Opcode.STORE):
        return ProgramError(
            f"instruction {instruction}: no module executes {Opcode(opcode).name} of memory type "
            f"{memory_type}, allowed are LOAD of 0 to 3 (uop, wgt, inp, acc) and STORE of 4 (out)",
            error_class="unknown_memory_type",
            instruction=instruction,
        )
    return ProgramError(
        f"instruction {instruction}: opcode {opcode} is unknown, allowed are 0 to {max(Opcode)}",
        error_class="unknown_opcode",
        instruction=instruction,
    )
