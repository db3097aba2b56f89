"""Findings about micro-ops: the ranges they reach and the rules of the hardware's pipelines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import AluOpcode, Opcode
from compiler_core.units.vta.verify._micro_ops import NO_INDEX, inspect_micro_ops
from compiler_core.units.vta.verify.fields import (
    RTL_MICRO_OPS,
    Decoded,
    first_rows,
    is_loop,
)
from compiler_core.units.vta.verify.findings import Finding, FindingClass, Severity, finding

GEMM_REPEAT_DISTANCE = 2
"""No accumulator index twice within this many GEMM micro-op executions after the first.

The rule says "no accumulator index repeated within two GEMM micro-ops". The strictest reading that
all conformance programs satisfy is taken: distance 1 and distance 2, in resets too. It holds within
one instruction; the pipeline is empty between two instructions.
"""


def check_micro_ops(
    decoded: Decoded, dram: npt.NDArray[np.uint8], geometry: VtaGeometry
) -> Iterator[Finding]:
    """Ranges of GEMM and ALU, micro-ops never loaded, and the micro-op rules of the hardware.

    Args:
        decoded: Decoded instructions ``[n]``.
        dram: ``uint8[dram_size]`` before the launch, contiguous.
        geometry: Buffers and element sizes.
    """
    extremes, broken = inspect_micro_ops(
        decoded.view(np.int64).reshape(len(decoded), -1),
        dram,
        geometry.element_bytes.uop,
        geometry.depth.uop,
        GEMM_REPEAT_DISTANCE,
    )
    yield from _ranges(decoded, extremes, geometry)
    yield from _micro_op_indices(decoded, geometry)
    yield from _broken_rules(decoded, broken)


def _ranges(
    decoded: Decoded, extremes: npt.NDArray[np.int64], geometry: VtaGeometry
) -> Iterator[Finding]:
    gemm = (decoded["opcode"] == Opcode.GEMM) & (decoded["reset"] == 0)
    tensor_alu = (decoded["opcode"] == Opcode.ALU) & (decoded["use_imm"] == 0)
    depth = geometry.depth
    for role, users, column, memory, limit in (
        ("dst", is_loop(decoded), 0, "acc", depth.acc),
        ("src", gemm, 2, "inp", depth.inp),
        ("src", tensor_alu, 2, "acc", depth.acc),
        ("wgt", gemm, 4, "wgt", depth.wgt),
    ):
        for row in first_rows(users & (extremes[:, column + 1] >= limit)):
            yield finding(
                FindingClass.SRAM_OUT_OF_RANGE,
                row,
                f"{memory} SRAM",
                f"elements {extremes[row, column]}..{extremes[row, column + 1]}",
                f"0..{limit - 1}",
                f"the {role} index leaves the buffer",
            )


def _micro_op_indices(decoded: Decoded, geometry: VtaGeometry) -> Iterator[Finding]:
    loops = is_loop(decoded) & (decoded["uop_end"] > decoded["uop_begin"])
    limit = geometry.depth.uop
    beyond = loops & (decoded["uop_end"] > limit)
    deep = loops & ~beyond & (decoded["uop_end"] > RTL_MICRO_OPS)
    for mask, finding_class, allowed in (
        (beyond, FindingClass.SRAM_OUT_OF_RANGE, limit),
        (deep, FindingClass.HARDWARE_RULE, RTL_MICRO_OPS),
    ):
        for row in first_rows(mask):
            yield finding(
                finding_class,
                row,
                "uop SRAM",
                f"micro-ops {decoded['uop_begin'][row]}..{decoded['uop_end'][row] - 1}",
                f"0..{allowed - 1}",
                "the micro-op range leaves the buffer",
            )


def _broken_rules(decoded: Decoded, broken: npt.NDArray[np.int64]) -> Iterator[Finding]:
    for row in first_rows(broken[:, 0] != NO_INDEX):
        # An error where other uninitialised reads are warnings: it may touch anything.
        yield finding(
            FindingClass.UNINITIALISED_READ,
            row,
            "uop SRAM",
            f"micro-op {broken[row, 0]}",
            "micro-ops loaded before",
            "a micro-op was never loaded, so that what it touches is unknown",
        )
    for row in first_rows(broken[:, 1] != NO_INDEX):
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "micro-op src",
            f"src is not dst in micro-op {broken[row, 1]}",
            "src = dst",
            "an immediate ALU instruction reads and writes the same place",
        )
    for row in first_rows(broken[:, 2] != NO_INDEX):
        alu = decoded["opcode"][row] == Opcode.ALU
        distance = 1 if alu else GEMM_REPEAT_DISTANCE
        name = "immediate ALU" if alu else "GEMM"
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "micro-op dst",
            f"the destination of micro-op {broken[row, 2]} again within {distance}",
            f"another destination in the next {distance} micro-op executions",
            f"{name} micro-ops in the pipeline would miss each other's result",
        )
    shift = (decoded["opcode"] == Opcode.ALU) & (decoded["alu_opcode"] == AluOpcode.SHR)
    for row in first_rows(shift & (decoded["use_imm"] == 0)):
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "shift amount",
            "read from an accumulator",
            "0..31, not known before the run",
            "the hardware shifts right by the low 5 bits of the amount and never left",
            severity=Severity.WARNING,
        )
