"""The verifier: all checks of a VTA program; each can rely on those before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import INSTRUCTION_BYTES, decode
from compiler_core.units.vta.verify import fields
from compiler_core.units.vta.verify.findings import Finding, FindingClass, in_order
from compiler_core.units.vta.verify.ranges import check_transfers


def verify(
    instructions: npt.NDArray[np.uint8], geometry: VtaGeometry, dram: npt.NDArray[np.uint8]
) -> tuple[Finding, ...]:
    """Checks a program against the rules of the machine and of its hardware implementations.

    The time is bounded by the size of the program, not by its loop counts. A program with unknown
    codes is checked no further than instruction by instruction; tokens are matched only when all
    dependence flags are legal, races are looked for only in programs whose ranges are legal and
    which do not deadlock: what a program does beyond such an error has no meaning.

    Args:
        instructions: ``uint8[n, 16]``, the program; any bytes.
        geometry: Buffers and element sizes of the core.
        dram: ``uint8[dram_size]``, DRAM before the launch; micro-ops are read from it.

    Returns:
        Findings, errors before warnings, each in the order of :class:`FindingClass` groups
        (decoding, place of FINISH, flags, loops and fields, ranges, deadlock, tokens left over,
        order of FINISH, races, hardware rules, uninitialised reads), then by instruction.

    Raises:
        ValueError: An argument has another type or shape.
    """
    for name, array, dimensions in (("instructions", instructions, 2), ("dram", dram, 1)):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != dimensions:
            seen = f"{getattr(array, 'dtype', type(array).__name__)}{getattr(array, 'shape', '')}"
            shape = "[n, 16]" if dimensions == 2 else "[dram_size]"
            raise ValueError(f"{name}: {seen} given, uint8{shape} is needed")
    if instructions.shape[1] != INSTRUCTION_BYTES:
        raise ValueError(f"instructions: {instructions.shape[1]} bytes each, 16 are needed")
    decoded = decode(instructions)
    findings = list(fields.check_codes(decoded))
    codes_known = not findings
    findings += fields.check_finish_position(decoded)
    findings += fields.check_flags(decoded)
    flags_legal = not any(
        item.finding_class is FindingClass.ILLEGAL_DEPENDENCE_FLAG for item in findings
    )
    findings += fields.check_loops(decoded)
    findings += fields.check_fields(decoded, instructions, geometry)
    findings += fields.check_hardware_fields(decoded)
    findings += check_transfers(decoded, geometry, len(dram))
    if codes_known and len(decoded):
        findings += _check_behaviour(decoded, geometry, dram, findings, flags_legal)
    return in_order(findings)


def _check_behaviour(
    decoded: fields.Decoded,
    geometry: VtaGeometry,
    dram: npt.NDArray[np.uint8],
    so_far: list[Finding],
    flags_legal: bool,
) -> list[Finding]:
    # Numba comes with these three; whoever only names findings need not wait for it.
    from compiler_core.units.vta.verify.data_flow import check_dram, check_sram
    from compiler_core.units.vta.verify.micro_ops import check_micro_ops
    from compiler_core.units.vta.verify.tokens import check_tokens

    # One array type for the compiled kernels, whatever the caller's memory looks like.
    image = np.ascontiguousarray(dram).view()
    image.flags.writeable = False
    findings = list(check_micro_ops(decoded, image, geometry))
    meaningless = {
        FindingClass.ZERO_LENGTH_LOOP,
        FindingClass.ILLEGAL_FIELD,
        FindingClass.SRAM_OUT_OF_RANGE,
        FindingClass.DRAM_OUT_OF_RANGE,
    }
    traceable = not any(item.finding_class in meaningless for item in [*so_far, *findings])
    if not flags_legal:
        return findings
    matching, token_findings = check_tokens(decoded)
    findings += token_findings
    if matching is not None and traceable:
        findings += check_sram(decoded, image, geometry, matching)
        findings += check_dram(decoded, geometry, matching, len(image))
    return findings
