"""Constants of programs in DRAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.memory.plan import align


class ConstantPool:
    """Read-only bytes in DRAM; equal ones lie at one address.

    Args:
        address: Of the first array.
    """

    def __init__(self, address: int) -> None:
        self.start = self.end = address
        self._addresses: dict[bytes, int] = {}

    def place(self, array: npt.NDArray[np.generic]) -> int:
        """Address of the bytes of ``array``."""
        raw = array.tobytes()
        if raw not in self._addresses:
            self._addresses[raw] = self.end
            self.end += align(len(raw))
        return self._addresses[raw]

    def write(self, dram: npt.NDArray[np.uint8]) -> None:
        """Writes every array; ``dram`` begins at physical address 0."""
        for raw, address in self._addresses.items():
            dram[address : address + len(raw)] = np.frombuffer(raw, np.uint8)
