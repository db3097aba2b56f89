"""Cycle-exact timing of several VTA cores that share one memory port.

Every core has its own fetch, load, compute and store, queues and tokens, and follows the rules of
one core (:mod:`compiler_core.units.vta.simulate.timing`) from its launch on. They share the port.
Read and write channel are each arbitrated round-robin between cores, burst by burst: the turn moves
on to the core behind the one that was served. With one core nothing of this is left, and every
cycle and counter is that of ``time_program``. What the rules mean for several cores:

* ``rtl-pipelined``, reads: the memory controller is the one of a single core. It accepts at most
  one command per cycle, from the first core in turn that has entered one in an earlier cycle; which
  of that core's readers it is, its own priorities say (fetch > uop > inp > wgt > acc). The limit of
  outstanding bursts (16) is shared by all cores, as are the order of service (that of acceptance),
  the latency of a burst that finds the list empty and the idle cycle between bursts.
* ``rtl-pipelined``, writes: a burst holds the write channel from its address to its response, the
  ``3 + elements x (beats + 1)`` cycles that it takes on one core, and write data of two cores never
  interleave (as in AXI4). Writes and reads do not wait for each other.
* ``rtl2020``: a core grants its readers as before; in each cycle in which the port is free, the
  first core in turn that asks gets it, for a read before a write of its own.
* A core that starts FINISH asks for nothing more. Bursts of its that were accepted are still
  served, so they delay others; a verified program has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import (
    TimingProfile,
    VtaCore,
    VtaEnergy,
    VtaGeometry,
    VtaTiming,
)
from compiler_core.units.vta.simulate.timing import (
    TimingDeadlock,
    TimingLimitError,
    deadlock,
    decode_stream,
    default_step_limit,
    pack_timing,
    route_program,
    timing_result,
)
from compiler_core.units.vta.simulate.timing_result import TimingResult

__all__ = ["MulticoreResult", "PortUse", "time_decoded_programs", "time_programs"]

_LATEST_LAUNCH: Final = 1 << 48


@dataclass(frozen=True)
class PortUse:
    """Cycles in which the shared port was taken, from cycle 0 to the last FINISH.

    Attributes:
        read_cycles: Read bursts, with the cycle that each takes off the next.
        write_cycles: Write bursts, from address to response.
        channels: 2 where reads and writes have a channel each, 1 where they share one.
        cycles: Cycles of the run.
    """

    read_cycles: int
    write_cycles: int
    channels: int
    cycles: int

    @property
    def utilization(self) -> float:
        """Of the busier channel, 0 to 1."""
        taken = (self.read_cycles, self.write_cycles)
        return (sum(taken) if self.channels == 1 else max(taken)) / self.cycles


@dataclass(frozen=True)
class MulticoreResult:
    """One run of several cores from cycle 0 to the last FINISH.

    Attributes:
        cycles: Clock cycles to the last FINISH.
        launch_cycles: When each core was launched.
        cores: Each core's own run; its cycles count from its own launch to its own FINISH.
        port: How long the port was taken.
    """

    cycles: int
    launch_cycles: tuple[int, ...]
    cores: tuple[TimingResult, ...]
    port: PortUse

    @property
    def mac_utilization(self) -> float:
        """GEMM micro-op executions per core and cycle; 1 is the peak of all arrays."""
        executions = sum(core.micro_ops.gemm for core in self.cores)
        return executions / (self.cycles * len(self.cores))

    @property
    def energy_pj(self) -> float | None:
        """Energy of all cores in pJ, or None without a table of energies."""
        parts = [core.energy_pj for core in self.cores if core.energy_pj is not None]
        return sum(parts) if len(parts) == len(self.cores) else None


def time_programs(
    programs: Sequence[npt.NDArray[np.uint8]],
    core_timing: VtaTiming,
    geometry: VtaGeometry,
    energy: VtaEnergy | None = None,
    *,
    launch_cycles: Sequence[int] | None = None,
    trace: bool = False,
    step_limit: int | None = None,
    machines: Sequence[VtaCore] | None = None,
) -> MulticoreResult:
    """Simulates programs that run at the same time, one on each core.

    Args:
        programs: Instruction streams ``uint8[n, 16]``, at least one.
        core_timing: Rules and costs of a core and of the shared port.
        geometry: Shape of a core, for energy.
        energy: Energy per event; None leaves energy out.
        launch_cycles: When each core is launched, 0 or later; None launches all in cycle 0.
        trace: Whether to return start and end of each instruction.
        step_limit: Largest number of events to simulate; None allows what no LOADs and STOREs that
            fit the buffers exceed.
        machines: What each program runs on, where they differ: in the widths of their elements and
            in what does not change cycles.

    Raises:
        InputError: No program, something that is no instruction stream, launch cycles that do
            not go with the programs, or machines whose rules differ.
        ProgramError: No module executes an instruction of one of them.
        TimingDeadlock: One of them never reaches FINISH.
        TimingLimitError: They take more than ``step_limit`` events, or more than 2**60 cycles.
    """
    return time_decoded_programs(
        [decode_stream(stream, f"core {core}: ") for core, stream in enumerate(programs)],
        core_timing,
        geometry,
        energy,
        launch_cycles=launch_cycles,
        trace=trace,
        step_limit=step_limit,
        machines=machines,
    )


def time_decoded_programs(
    programs: Sequence[npt.NDArray[np.void]],
    core_timing: VtaTiming,
    geometry: VtaGeometry,
    energy: VtaEnergy | None = None,
    *,
    launch_cycles: Sequence[int] | None = None,
    trace: bool = False,
    step_limit: int | None = None,
    machines: Sequence[VtaCore] | None = None,
) -> MulticoreResult:
    """Simulates decoded programs, structured arrays ``[n]`` of ``INSTRUCTION_DTYPE``.

    See :func:`time_programs` for the other arguments, the result and the errors.
    """
    from compiler_core.units.vta.simulate import multicore_kernel

    cores = len(programs)
    launches = _launches(launch_cycles, cores)
    if machines is not None:
        _require_one_port(machines, core_timing, cores)
    timings = [core_timing] * cores if machines is None else [item.timing for item in machines]
    instructions, modules = _routed(programs)
    first = np.cumsum([0, *map(len, programs)], dtype=np.int64)
    if step_limit is None:
        step_limit = default_step_limit(int(first[-1]))
    out = _Account.empty(cores, int(first[-1]))
    packed = [pack_timing(item, step_limit) for item in timings]
    status = multicore_kernel.simulate_cores(
        instructions,
        first,
        np.array(launches, np.int64),
        modules,
        *packed[0][:2],
        np.stack([widths for _, _, widths in packed]),
        out.record,
        out.traffic,
        out.work,
        out.heads,
        out.summary,
        out.channels,
        out.last_cycle,
    )
    _require_end(status, out, programs, step_limit)
    results = []
    for core, launched in enumerate(launches):
        own = slice(int(first[core]), int(first[core + 1]))
        out.since_launch(core, own, launched)
        results.append(
            timing_result(
                modules[own],
                np.ascontiguousarray(out.record[:, own]),
                out.traffic[core],
                out.work[core],
                out.summary[core],
                timings[core],
                geometry if machines is None else machines[core].geometry,
                energy if machines is None or energy is None else machines[core].energy,
                trace=trace,
            )
        )
    cycles = max(begin + run.cycles for begin, run in zip(launches, results, strict=True))
    pipelined = core_timing.profile is TimingProfile.RTL_PIPELINED
    read_cycles, write_cycles = out.channels.tolist()
    port = PortUse(read_cycles, write_cycles, 1 + pipelined, cycles)
    return MulticoreResult(cycles, tuple(launches), tuple(results), port)


@dataclass(frozen=True, eq=False)
class _Account:
    """What the kernel writes; rows and columns are those of its module.

    Attributes:
        record: ``int64[rows, instructions]`` of all cores.
        traffic, work, heads, summary: ``int64[cores, …]``.
        channels, last_cycle: ``int64[…]`` of all.
    """

    record: npt.NDArray[np.int64]
    traffic: npt.NDArray[np.int64]
    work: npt.NDArray[np.int64]
    heads: npt.NDArray[np.int64]
    summary: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int64]
    last_cycle: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, cores: int, instructions: int) -> _Account:
        from compiler_core.units.vta.simulate import multicore_kernel
        from compiler_core.units.vta.simulate import timing_kernel as kernel

        record = np.full((kernel.RECORD_ROWS, instructions), -1, np.int64)
        record[kernel.PORT_WAIT] = 0
        return cls(
            record,
            np.zeros((cores, kernel.TRAFFIC_ROWS, kernel.TRAFFIC_COLUMNS), np.int64),
            np.zeros((cores, kernel.WORK_ROWS), np.int64),
            np.zeros((cores, 4), np.int64),
            np.zeros((cores, kernel.SUMMARY), np.int64),
            np.zeros(multicore_kernel.CHANNELS, np.int64),
            np.zeros(1, np.int64),
        )

    def since_launch(self, core: int, own: slice, launch: int) -> None:
        """Counts the cycles of a core, whose instructions are ``own``, from its launch on."""
        from compiler_core.units.vta.simulate import timing_kernel as kernel

        for row in (kernel.START, kernel.END, kernel.HANDED_OUT):
            reached = self.record[row, own] >= 0
            self.record[row, own][reached] -= launch
        self.summary[core, [kernel.CYCLES, kernel.FETCH_END]] -= launch


def _launches(launch_cycles: Sequence[int] | None, cores: int) -> list[int]:
    """Launch cycle of each core.

    Raises:
        InputError: There is no core, or they are not one for each.
    """
    if not cores:
        raise InputError("no program to simulate, expected one for each core, at least one")
    launches = [0] * cores if launch_cycles is None else list(launch_cycles)
    if len(launches) != cores or min(launches) < 0 or max(launches) > _LATEST_LAUNCH:
        raise InputError(
            f"launch cycles {launches} of {cores} programs, expected one for each, "
            f"0 to {_LATEST_LAUNCH}"
        )
    return launches


def _routed(
    programs: Sequence[npt.NDArray[np.void]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Fields of all instructions, core after core, and the module of each.

    Raises:
        ProgramError: An instruction belongs to no module.
    """
    routed = []
    for core, decoded in enumerate(programs):
        try:
            routed.append(route_program(decoded))
        except ProgramError as error:
            raise _of_core(error, core, len(programs)) from None
    return np.concatenate([part for part, _ in routed]), np.concatenate([m for _, m in routed])


def _require_end(
    status: int, out: _Account, programs: Sequence[npt.NDArray[np.void]], step_limit: int
) -> None:
    """Refuses a run that did not end.

    Raises:
        TimingDeadlock: No core could go on.
        TimingLimitError: It takes too many events or cycles.
    """
    from compiler_core.units.vta.simulate import timing_kernel as kernel

    last_cycle = int(out.last_cycle[0])
    if status == kernel.DEADLOCK:
        stuck = int(np.flatnonzero(out.summary[:, kernel.CYCLES] == 0)[0])
        fault = deadlock(programs[stuck], out.heads[stuck], last_cycle)
        raise _of_core(fault, stuck, len(programs))
    if status == kernel.LIMIT:
        raise TimingLimitError(
            f"the programs are still running at cycle {last_cycle} after "
            f"{int(out.summary[0, kernel.STEPS])} events, allowed are {step_limit} events and "
            f"{kernel.CYCLE_LIMIT} cycles",
            error_class="too_long",
            instruction=None,
            hint="verify the programs; LOADs and loops of this size do not fit the machine",
        )


def _require_one_port(machines: Sequence[VtaCore], timing: VtaTiming, cores: int) -> None:
    """Refuses machines that do not share the rules of one port and one clock."""
    if len(machines) != cores:
        raise InputError(f"{len(machines)} machines for {cores} programs, expected one for each")
    for core, machine in enumerate(machines):
        own = replace(machine.timing, element_bytes=timing.element_bytes)
        if own != timing or machine.clock_hz != machines[0].clock_hz:
            raise InputError(
                f"core {core} has other timing rules than the port: {machine.timing}; cores of one "
                "port may differ in the bytes of their elements"
            )


def _of_core(error: ProgramError, core: int, cores: int) -> ProgramError:
    """The error with the core named, where there are several."""
    if cores == 1:
        return error
    kind = TimingDeadlock if isinstance(error, TimingDeadlock) else ProgramError
    return kind(
        f"core {core}: {error.message}",
        error_class=error.error_class,
        instruction=error.instruction,
        hint=error.hint,
    )
