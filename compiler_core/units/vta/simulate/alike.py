"""Programs that take the same time: those that differ by where in DRAM their arrays lie.

A transfer is cut into bursts at multiples of ``burst_boundary_bytes``, and nothing else depends on
its address: moved by a multiple of that, a program takes the same cycles and moves the same bytes.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import VtaTiming
from compiler_core.units.vta.machine.isa import (
    COMMON_FIELDS,
    MEMORY_FIELDS,
    Opcode,
    as_words,
    element_bytes_per_type,
)

_OPCODE, _TYPE, _DRAM = COMMON_FIELDS["opcode"], MEMORY_FIELDS["memory_type"], "dram_base"
_SHIFT = np.uint64(_TYPE.low)


def timed_words(instructions: npt.NDArray[np.uint8], timing: VtaTiming) -> npt.NDArray[np.uint64]:
    """Instructions with what their time depends on: ``uint64[n, 2]``; equal ones take equal times.

    Args:
        instructions: ``uint8[n, 16]``.
        timing: Of the machine.
    """
    words = as_words(instructions).copy()
    low = words[:, 0]
    opcodes = low & np.uint64((1 << _OPCODE.width) - 1)
    moves = (opcodes == int(Opcode.LOAD)) | (opcodes == int(Opcode.STORE))
    kinds = low >> _SHIFT & np.uint64((1 << _TYPE.width) - 1)
    words[:, 0] = np.where(moves, low & _kept(timing)[kinds], low)
    return words


def timed_addresses(addresses: npt.NDArray[np.int64], timing: VtaTiming) -> npt.NDArray[np.int64]:
    """Addresses in bytes likewise."""
    return addresses % timing.burst_boundary_bytes


@lru_cache(maxsize=64)
def _kept(timing: VtaTiming) -> npt.NDArray[np.uint64]:
    """Bits of the low word that times depend on, by memory type."""
    field = MEMORY_FIELDS[_DRAM]
    kept = []
    for width in element_bytes_per_type(timing.element_bytes).tolist():
        # Elements after which addresses are cut alike again.
        period = timing.burst_boundary_bytes // gcd(timing.burst_boundary_bytes, width)
        cleared = (1 << field.width) - 1 & -period if period & period - 1 == 0 else 0
        kept.append((1 << 64) - 1 ^ cleared << field.low)
    return np.array(kept, np.uint64)
