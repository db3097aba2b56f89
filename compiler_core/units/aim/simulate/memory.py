"""Everything that a program can read and write, and what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import BANKS, COLUMNS, LANES, AimMachine
from compiler_core.units.aim.simulate.numbers import Bits
from compiler_core.units.aim.simulate.timing import WorkLimitError

Ints = npt.NDArray[np.int64]

ROW_BYTES: Final = BANKS * COLUMNS * LANES * 2
MOST_BYTES: Final = 1 << 30
"""Of banks that one program may fill."""


class BankMemory:
    """Banks, buffers, accumulators and registers of one device; banks and registers begin as zero.

    Args:
        machine: The device.

    Attributes:
        registers: ``uint16[registers, 16]``, the general registers of the host.
        buffer: ``uint16[channels, 64, 16]``, global buffers.
        accumulators: ``float32[channels, 16]``.
        activations: ``uint16[channels, 16]``.
        buffer_written: ``bool[channels, 64]``.
        accumulators_written, activations_written: ``bool[channels]``.
        registers_written: ``bool[registers]``.
        read: Blocks that the host read, in the order of the program.
    """

    def __init__(self, machine: AimMachine) -> None:
        channels = machine.channels
        self.registers = np.zeros((machine.registers, LANES), np.uint16)
        self.buffer = np.zeros((channels, COLUMNS, LANES), np.uint16)
        self.accumulators = np.zeros((channels, BANKS), np.float32)
        self.activations = np.zeros((channels, BANKS), np.uint16)
        self.buffer_written = np.zeros((channels, COLUMNS), np.bool_)
        self.accumulators_written = np.zeros(channels, np.bool_)
        self.activations_written = np.zeros(channels, np.bool_)
        self.registers_written = np.zeros(machine.registers, np.bool_)
        self.read: list[Bits] = []
        self._rows: dict[tuple[int, int], Bits] = {}
        self._written: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}
        self._nothing = np.zeros((BANKS, COLUMNS, LANES), np.uint16)
        self._nothing.setflags(write=False)

    def row(self, channel: int, row: int) -> Bits:
        """A row of all banks, ``uint16[16, 64, 16]``, to be read."""
        return self._rows.get((channel, row), self._nothing)

    def fill(self, channel: int, row: int) -> Bits:
        """A row of all banks, to be written.

        Raises:
            WorkLimitError: The program fills more than is held.
        """
        key = (channel, row)
        if key not in self._rows:
            demand = (len(self._rows) + 1) * ROW_BYTES
            if demand > MOST_BYTES:
                raise WorkLimitError("bytes of rows", demand, MOST_BYTES)
            self._rows[key] = np.zeros((BANKS, COLUMNS, LANES), np.uint16)
        return self._rows[key]

    def write(self, channel: int, row: int, banks: Any, columns: Any, blocks: Any) -> None:
        """Writes blocks, and remembers that a program did."""
        self.fill(channel, row)[banks, columns] = blocks
        key = (channel, row)
        if key not in self._written:
            self._written[key] = np.zeros((BANKS, COLUMNS), np.bool_)
        self._written[key][banks, columns] = True

    def set_register(self, number: int, block: Bits) -> None:
        """Writes a general register."""
        self.registers[number] = block
        self.registers_written[number] = True

    def load_banks(self, addresses: Ints, blocks: Bits) -> None:
        """Lays blocks into banks before a launch.

        Args:
            addresses: ``int64[n, 4]``: channel, bank, row, column.
            blocks: ``uint16[n, 16]``.
        """
        order = np.lexsort((addresses[:, 2], addresses[:, 0]))
        places = addresses[order]
        changes = np.flatnonzero((places[1:, [0, 2]] != places[:-1, [0, 2]]).any(axis=1)) + 1
        for part in np.split(order, changes):
            if len(part):
                channel, _, row, _ = addresses[part[0]].tolist()
                self.fill(channel, row)[addresses[part, 1], addresses[part, 3]] = blocks[part]

    def copy(self) -> BankMemory:
        """The same contents, to be changed apart from this one."""
        made = object.__new__(BankMemory)
        for name, value in vars(self).items():
            made.__dict__[name] = value.copy() if isinstance(value, np.ndarray | list) else value
        made._rows = {key: row.copy() for key, row in self._rows.items()}
        made._written = {key: mask.copy() for key, mask in self._written.items()}
        return made

    def written_banks(self) -> tuple[Ints, Bits]:
        """Every block that programs wrote: ``int32[n, 4]`` and ``uint16[n, 16]``, by address."""
        places, blocks = [], []
        for (channel, row), mask in self._written.items():
            banks, columns = np.nonzero(mask)
            count = len(banks)
            place = np.stack([np.full(count, channel), banks, np.full(count, row), columns], axis=1)
            places.append(place)
            blocks.append(self._rows[channel, row][banks, columns])
        if not places:
            return np.zeros((0, 4), np.int32), np.zeros((0, LANES), np.uint16)
        address, data = np.concatenate(places), np.concatenate(blocks)
        order = np.lexsort(address.T[::-1])
        return address[order].astype(np.int32), data[order]

    def afterwards(self) -> Mapping[str, npt.NDArray[Any]]:
        """What programs left, under the names of the file form; ``gpr`` holds all registers, and
        ``bank_*`` and ``gpr_*`` are named so that they can be what another program begins with."""
        address, data = self.written_banks()
        numbers = np.flatnonzero(self.registers_written).astype(np.int32)
        channels, columns = np.nonzero(self.buffer_written)
        summed = np.flatnonzero(self.accumulators_written).astype(np.int32)
        active = np.flatnonzero(self.activations_written).astype(np.int32)
        read = np.array(self.read, np.uint16).reshape(len(self.read), LANES)
        return {
            "gpr": self.registers,
            "bank_addr": address,
            "bank_data": data,
            "gpr_addr": numbers,
            "gpr_data": self.registers[numbers],
            "post_bank_addr": address,
            "post_bank_data": data,
            "post_gpr_addr": numbers,
            "post_gpr_data": self.registers[numbers],
            "read_data": read,
            "post_gb_addr": np.stack([channels, columns], axis=1).astype(np.int32),
            "post_gb_data": self.buffer[channels, columns],
            "post_acc_channel": summed,
            "post_acc": self.accumulators[summed],
            "post_af_channel": active,
            "post_af": self.activations[active],
        }
