"""A built-in program whose result is known: one output per bank of one channel."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import BANKS, LANES
from compiler_core.units.aim.program.instructions import Opcode, Program, program_of, record

Floats = npt.NDArray[np.float32]

CYCLES: Final = 174
OUTPUT: Final = 8
_CHANNEL = 1 << 31
_COLUMNS = 4


def sample_program() -> tuple[Program, Floats, Floats, Floats]:
    """A program, its weights, its input and what it gives.

    Returns:
        The program; weights ``float32[16, 64]`` for row 0; the input ``float32[64]`` for registers
        0 to 3; and the 16 outputs, which are small integers, so that no step rounds.
    """
    program = program_of(
        [
            record(Opcode.WR_BIAS, gpr=_COLUMNS, mask=_CHANNEL),
            record(Opcode.WR_GB, n=_COLUMNS, gpr=0, mask=_CHANNEL),
            record(Opcode.MAC_ABK, n=_COLUMNS, mask=_CHANNEL, row=0),
            record(Opcode.RD_MAC, gpr=OUTPUT, mask=_CHANNEL),
            record(Opcode.EOC),
        ]
    )
    size = _COLUMNS * LANES
    weights = (np.arange(BANKS * size).reshape(BANKS, size) % 3 - 1).astype(np.float32)
    vector = (np.arange(size) % 2).astype(np.float32)
    return program, weights, vector, weights @ vector
