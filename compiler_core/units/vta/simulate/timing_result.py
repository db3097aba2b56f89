"""What a timing simulation returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Actor(IntEnum):
    """The four in-order actors of the machine."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2
    FETCH = 3


class WaitCause(IntEnum):
    """Why an instruction did not start when its module became idle."""

    NONE = 0
    TOKEN = 1
    FETCH = 2


@dataclass(frozen=True)
class Activity:
    """Cycles of one actor from launch to FINISH; the six parts add up to the cycles of the run.

    Attributes:
        busy_cycles: At work, uncontended memory transfers included.
        token_stall_cycles: An instruction is there, a token that it pops is not.
        port_stall_cycles: A burst waits for the memory port beyond its uncontended latency.
        fetch_stall_cycles: The module's queue is empty and an instruction for it is still to come.
        queue_stall_cycles: Fetch holds an instruction whose queue is full.
        idle_cycles: After the actor's last instruction.
    """

    busy_cycles: int
    token_stall_cycles: int
    port_stall_cycles: int
    fetch_stall_cycles: int
    queue_stall_cycles: int
    idle_cycles: int

    @property
    def total_cycles(self) -> int:
        """The sum of all parts."""
        return (
            self.busy_cycles
            + self.token_stall_cycles
            + self.port_stall_cycles
            + self.fetch_stall_cycles
            + self.queue_stall_cycles
            + self.idle_cycles
        )


@dataclass(frozen=True)
class Traffic:
    """Traffic of one memory type: bytes asked for, bursts and beats on the port."""

    data_bytes: int
    bursts: int
    beats: int


@dataclass(frozen=True)
class MemoryTraffic:
    """Traffic per memory type; only ``out`` is written."""

    uop: Traffic
    wgt: Traffic
    inp: Traffic
    acc: Traffic
    out: Traffic
    fetch: Traffic

    @property
    def _reads(self) -> tuple[Traffic, ...]:
        return (self.uop, self.wgt, self.inp, self.acc, self.fetch)

    @property
    def read_beats(self) -> int:
        return sum(t.beats for t in self._reads)

    @property
    def read_bursts(self) -> int:
        return sum(t.bursts for t in self._reads)

    @property
    def write_beats(self) -> int:
        return self.out.beats

    @property
    def write_bursts(self) -> int:
        return self.out.bursts


@dataclass(frozen=True)
class MicroOps:
    """Micro-op executions of the instructions that started."""

    gemm: int
    gemm_reset: int
    alu_immediate: int
    alu_tensor: int

    @property
    def alu(self) -> int:
        return self.alu_immediate + self.alu_tensor


@dataclass(frozen=True)
class EnergyBreakdown:
    """Energy in pJ by where it is spent: multipliers, adders, small and large SRAMs, DRAM."""

    multiply_pj: float
    add_pj: float
    small_sram_pj: float
    large_sram_pj: float
    dram_pj: float

    @property
    def total_pj(self) -> float:
        return (
            self.multiply_pj + self.add_pj + self.small_sram_pj + self.large_sram_pj + self.dram_pj
        )


@dataclass(frozen=True, eq=False)
class TimingTrace:
    """One entry per instruction, in program order; -1 where a cycle was not reached before FINISH.

    Attributes:
        actor: ``int8[n]``, :class:`Actor` that executes it.
        handed_out_cycle: ``int64[n]``, fetch put it into its queue; seen there one cycle later.
        start_cycle: ``int64[n]``, at the head, module idle, tokens there.
        end_cycle: ``int64[n]``, first cycle in which the module can start the next.
        wait_cause: ``int8[n]``, :class:`WaitCause` of the last wait before the start.
        fetch_wait_cycles: ``int64[n]``, the idle module waited for it to arrive.
        token_wait_cycles: ``int64[n]``, then for its tokens.
        port_stall_cycles: ``int64[n]``, between start and end its bursts waited for the port.
    """

    actor: npt.NDArray[np.int8]
    handed_out_cycle: npt.NDArray[np.int64]
    start_cycle: npt.NDArray[np.int64]
    end_cycle: npt.NDArray[np.int64]
    wait_cause: npt.NDArray[np.int8]
    fetch_wait_cycles: npt.NDArray[np.int64]
    token_wait_cycles: npt.NDArray[np.int64]
    port_stall_cycles: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TimingResult:
    """One run from launch to FINISH.

    Attributes:
        cycles: Clock cycles from launch to FINISH.
        fetch: Account of the fetch unit.
        load: Account of the load module.
        compute: Account of the compute module.
        store: Account of the store module.
        traffic: Memory traffic by type.
        micro_ops: Micro-op executions by kind.
        mac_utilization: GEMM micro-op executions per cycle; 1 is the peak of the array.
        energy: Energy by where it is spent; None without a table of energies.
        trace: Start and end of each instruction; None unless asked for.
    """

    cycles: int
    fetch: Activity
    load: Activity
    compute: Activity
    store: Activity
    traffic: MemoryTraffic
    micro_ops: MicroOps
    mac_utilization: float
    energy: EnergyBreakdown | None
    trace: TimingTrace | None

    @property
    def energy_pj(self) -> float | None:
        """Total energy in pJ, or None without a table of energies."""
        return None if self.energy is None else self.energy.total_pj
