"""Programs for processing in memory written to files, as others write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler_core.files.npz import write_npz
from compiler_core.units.aim.machine.machine import LANES
from compiler_core.units.aim.program.program_file import ProgramFile, narrowed


def write_program_file(path: Path, file: ProgramFile) -> None:
    """Writes a legal program in the file form.

    Raises:
        InputError: The file cannot be written.
    """
    host = file.host_blocks
    arrays = {
        "program": narrowed(file.program.records),
        "bank_addr": file.bank_addresses,
        "bank_data": file.bank_blocks,
        "gpr_addr": file.register_numbers,
        "gpr_data": file.register_blocks,
        "host_data": np.zeros((0, LANES), np.uint16) if host is None else host,
    }
    write_npz(path, arrays)
