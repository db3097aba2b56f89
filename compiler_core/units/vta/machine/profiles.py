"""The two timing profiles that were measured on RTL, as constants.

A target file may describe any machine; these are the ones with known cycle counts, so that a raw
command stream can be timed against them whatever the target is. ``RTL_PIPELINED_32BIT`` was only
available generated with 32-bit inp, wgt and out elements.
"""

from __future__ import annotations

from compiler_core.units.vta.machine.hardware import (
    ElementBytes,
    InstructionCosts,
    LinearCost,
    TimingProfile,
    VtaTiming,
)

RTL2020 = VtaTiming(
    profile=TimingProfile.RTL2020,
    element_bytes=ElementBytes(uop=4, inp=16, wgt=256, acc=64, out=16),
    port_bytes=8,
    burst_beats=256,
    burst_boundary_bytes=2048,
    memory_latency_cycles=0,
    outstanding_bursts=1,
    queue_depth=512,
    fetch_batch_instructions=128,
    costs=InstructionCosts(
        gemm=LinearCost(per_micro_op=4, fixed=4),
        gemm_reset=LinearCost(per_micro_op=4, fixed=1),
        alu_immediate=LinearCost(per_micro_op=5, fixed=1),
        alu_tensor=LinearCost(per_micro_op=6, fixed=1),
        no_operation=2,
        finish=2,
    ),
)

RTL_PIPELINED_32BIT = VtaTiming(
    profile=TimingProfile.RTL_PIPELINED,
    element_bytes=ElementBytes(uop=4, inp=64, wgt=1024, acc=64, out=64),
    port_bytes=8,
    burst_beats=256,
    burst_boundary_bytes=2048,
    memory_latency_cycles=16,
    outstanding_bursts=16,
    queue_depth=512,
    fetch_batch_instructions=128,
    costs=InstructionCosts(
        gemm=LinearCost(per_micro_op=1, fixed=7),
        gemm_reset=LinearCost(per_micro_op=1, fixed=7),
        alu_immediate=LinearCost(per_micro_op=1, fixed=7),
        alu_tensor=LinearCost(per_micro_op=2, fixed=7),
        no_operation=2,
        finish=2,
    ),
)

PROFILES = {
    TimingProfile.RTL2020: RTL2020,
    TimingProfile.RTL_PIPELINED: RTL_PIPELINED_32BIT,
}
"""Timing of each profile exactly as it was measured."""
