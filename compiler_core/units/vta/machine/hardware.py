"""The numbers that describe one VTA core and its memory port, as frozen values.

They come from a target file (``compiler_core.targets.load``); simulators, verifier and lowering
take them from here and know no file format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.hashed_once import hashed_once

INT8_BITS = 8

HAZARD_DISTANCE = 3
"""An accumulator may recur in the micro-op sequence at this distance at the earliest."""


class TimingProfile(Enum):
    """Which RTL's state machines the timing rules follow."""

    RTL2020 = "rtl2020"
    RTL_PIPELINED = "rtl-pipelined"


@dataclass(frozen=True)
class ElementBytes:
    """Bytes of one element in DRAM, per memory type."""

    uop: int
    inp: int
    wgt: int
    acc: int
    out: int


@dataclass(frozen=True)
class BufferDepth:
    """Elements that each on-chip buffer holds; ``out`` shares the index space of ``acc``."""

    uop: int
    inp: int
    wgt: int
    acc: int


@hashed_once
@dataclass(frozen=True)
class VtaGeometry:
    """Shape of the GEMM unit and its buffers: what a program's bits depend on.

    Attributes:
        batch: Rows of an input vector.
        block_in, block_out: Channels of an input and of an output vector.
        element_bytes: Widths in DRAM.
        depth: Of the buffers.
        weight_bits: 8, or 4: two weights a byte, the one of the even input channel low.
        activation_lanes: Channels that lie together in memory, a multiple of ``block_out``; as many
            where 0.
    """

    batch: int
    block_in: int
    block_out: int
    element_bytes: ElementBytes
    depth: BufferDepth
    weight_bits: int = field(default=INT8_BITS, metadata={ONLY_WHERE_OTHER: True})
    activation_lanes: int = field(default=0, metadata={ONLY_WHERE_OTHER: True})

    @property
    def lanes(self) -> int:
        """Channels that lie together in memory."""
        return self.activation_lanes or self.block_out

    @property
    def pitch(self) -> int:
        """Output vectors of a pixel that lie together."""
        return self.lanes // self.block_out

    @property
    def halves(self) -> int:
        """Input vectors that the bytes of one output vector are."""
        return self.block_out // self.block_in


def element_bytes_of(batch: int, block_in: int, block_out: int, weight_bits: int) -> ElementBytes:
    """Widths in DRAM of int8 activations and int32 accumulators."""
    return ElementBytes(
        uop=4,
        inp=batch * block_in,
        wgt=block_in * block_out * weight_bits // 8,
        acc=batch * block_out * 4,
        out=batch * block_out,
    )


@dataclass(frozen=True)
class LinearCost:
    """Cycles of an instruction with N micro-op executions: ``per_micro_op * N + fixed``."""

    per_micro_op: int
    fixed: int


@dataclass(frozen=True)
class InstructionCosts:
    """Cycles from start to idle without contention, except for memory transfers."""

    gemm: LinearCost
    gemm_reset: LinearCost
    alu_immediate: LinearCost
    alu_tensor: LinearCost
    no_operation: int
    finish: int


@hashed_once
@dataclass(frozen=True)
class VtaTiming:
    """Everything that cycles depend on and bits do not."""

    profile: TimingProfile
    element_bytes: ElementBytes
    port_bytes: int
    burst_beats: int
    burst_boundary_bytes: int
    memory_latency_cycles: int
    outstanding_bursts: int
    queue_depth: int
    fetch_batch_instructions: int
    costs: InstructionCosts


@dataclass(frozen=True)
class VtaEnergy:
    """Energy per event in pJ."""

    int8_multiply_pj: float
    int32_add_pj: float
    small_sram_64bit_pj: float
    large_sram_64bit_pj: float
    dram_64bit_pj: float


@hashed_once
@dataclass(frozen=True)
class VtaCore:
    """One kind of VTA processing unit."""

    kind: ClassVar[str] = "vta"

    geometry: VtaGeometry
    timing: VtaTiming
    energy: VtaEnergy
    clock_hz: float
