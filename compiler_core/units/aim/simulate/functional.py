"""What a program computes, bit by bit; effects are in program order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from compiler_core.units.aim.machine.machine import BANKS, BANKS_PER_GROUP, channels_of
from compiler_core.units.aim.program.instructions import (
    BROADCAST,
    EWMUL_GROUPS,
    FUNCTION,
    REGISTERS_AT_LAUNCH,
    Opcode,
    Records,
)
from compiler_core.units.aim.simulate.activation import Function, activated
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.numbers import (
    Bits,
    accumulated,
    added,
    dots,
    multiplied,
    to_bits,
    to_float,
)

_FIRST = np.arange(0, BANKS, BANKS_PER_GROUP)
"""First bank of each group."""


class Executor:
    """Executes programs that the verifier accepts.

    Args:
        memory: What they read and write.
        host: ``uint16[n, 16]``, blocks that the host writes; without any it writes zeros.
    """

    def __init__(self, memory: BankMemory, host: Bits | None = None) -> None:
        self.memory = memory
        self._host = host if host is not None and len(host) else None
        self._configuration = list(REGISTERS_AT_LAUNCH)

    def run(self, records: Records) -> None:
        """Executes a program.

        Raises:
            WorkLimitError: It fills more rows than are held.
        """
        self._configuration = list(REGISTERS_AT_LAUNCH)
        for row in records.tolist():
            op, n, bank, col, lane, place, mask, gpr, gpr2, value = row
            operands = _Operands(n, bank, col, lane, place, mask, gpr, gpr2, value)
            step = _STEPS.get(op)
            if step is not None:
                step(self, operands)

    def block(self, number: int) -> Bits:
        """A block of the host."""
        if self._host is None:
            return np.zeros(self.memory.registers.shape[1], np.uint16)
        block: Bits = self._host[number]
        return block

    def write_register(self, o: _Operands) -> None:
        self.memory.set_register(o.gpr, self.block(o.value))

    def read_register(self, o: _Operands) -> None:
        self.memory.read.append(self.memory.registers[o.gpr].copy())

    def configure(self, o: _Operands) -> None:
        self._configuration[o.gpr] = o.value

    def add(self, o: _Operands) -> None:
        registers = self.memory.registers
        for i in range(o.n):
            total = added(registers[o.gpr + i], registers[o.gpr2 + i])
            self.memory.set_register(o.gpr + i, total)

    def write_memory(self, o: _Operands) -> None:
        self.memory.write(o.mask, o.row, o.bank, o.col, self.block(o.value))

    def read_memory(self, o: _Operands) -> None:
        self.memory.read.append(self.memory.row(o.mask, o.row)[o.bank, o.col].copy())

    def write_banks(self, o: _Operands) -> None:
        for channel in channels_of(o.mask):
            self.memory.write(channel, o.row, o.bank, o.col, self.memory.registers[o.gpr])

    def read_banks(self, o: _Operands) -> None:
        for rank, channel in enumerate(channels_of(o.mask)):
            block = self.memory.row(channel, o.row)[o.bank, o.col].copy()
            self.memory.set_register(o.gpr + rank, block)

    def write_lane(self, o: _Operands) -> None:
        (channel,) = channels_of(o.mask)
        blocks = self.memory.row(channel, o.row)[:, o.col].copy()
        blocks[:, o.lane] = self.memory.registers[o.gpr]
        self.memory.write(channel, o.row, slice(None), o.col, blocks)

    def write_buffer(self, o: _Operands) -> None:
        for channel in channels_of(o.mask):
            self.memory.buffer[channel, o.columns] = self.memory.registers[o.gpr : o.gpr + o.n]
            self.memory.buffer_written[channel, o.columns] = True

    def write_bias(self, o: _Operands) -> None:
        for rank, channel in enumerate(channels_of(o.mask)):
            values = to_float(self.memory.registers[o.gpr + rank])
            self.memory.accumulators[channel] = values
            self.memory.accumulators_written[channel] = True

    def multiply_all(self, o: _Operands) -> None:
        self._multiply(o, slice(None))

    def multiply_one(self, o: _Operands) -> None:
        self._multiply(o, slice(o.bank, o.bank + 1))

    def _multiply(self, o: _Operands, banks: slice) -> None:
        pairs = self._configuration[BROADCAST] == 1
        if pairs and banks == slice(None):
            banks = slice(0, BANKS, 2)
        for channel in channels_of(o.mask):
            row = self.memory.row(channel, o.row)
            numbers = np.arange(BANKS)[banks]
            one = to_float(row[numbers][:, o.columns])
            other = row[numbers + 1][:, o.columns] if pairs else self.memory.buffer[
                channel, o.columns
            ]  # fmt: skip
            sums = self.memory.accumulators[channel]
            sums[numbers] = accumulated(sums[numbers], dots(one, to_float(other)))

    def activate(self, o: _Operands) -> None:
        function = Function(self._configuration[FUNCTION])
        for channel in channels_of(o.mask):
            values = activated(self.memory.accumulators[channel], function)
            self.memory.activations[channel] = to_bits(values)
            self.memory.activations_written[channel] = True

    def read_sums(self, o: _Operands) -> None:
        for rank, channel in enumerate(channels_of(o.mask)):
            self.memory.set_register(o.gpr + rank, to_bits(self.memory.accumulators[channel]))

    def read_activations(self, o: _Operands) -> None:
        for rank, channel in enumerate(channels_of(o.mask)):
            self.memory.set_register(o.gpr + rank, self.memory.activations[channel])

    def multiply_elements(self, o: _Operands) -> None:
        first = _FIRST if self._configuration[EWMUL_GROUPS] == 1 else _FIRST[:1]
        for channel in channels_of(o.mask):
            row = self.memory.row(channel, o.row)
            products = multiplied(row[first][:, o.columns], row[first + 1][:, o.columns])
            for bank, blocks in zip((first + 2).tolist(), products, strict=True):
                self.memory.write(channel, o.row, bank, o.columns, blocks)

    def bank_to_buffer(self, o: _Operands) -> None:
        for channel in channels_of(o.mask):
            blocks = self.memory.row(channel, o.row)[o.bank, o.columns]
            self.memory.buffer[channel, o.columns] = blocks
            self.memory.buffer_written[channel, o.columns] = True

    def buffer_to_bank(self, o: _Operands) -> None:
        for channel in channels_of(o.mask):
            blocks = self.memory.buffer[channel, o.columns]
            self.memory.write(channel, o.row, o.bank, o.columns, blocks)


class _Operands:
    """Operands of one instruction by name."""

    __slots__ = ("bank", "col", "columns", "gpr", "gpr2", "lane", "mask", "n", "row", "value")

    def __init__(
        self, n: int, bank: int, col: int, lane: int, row: int, mask: int, gpr: int, gpr2: int,
        value: int,
    ) -> None:  # fmt: skip
        self.n, self.bank, self.col, self.lane, self.row = n, bank, col, lane, row
        self.mask, self.gpr, self.gpr2, self.value = mask, gpr, gpr2, value
        self.columns = slice(col, col + n)


_STEPS: Final[dict[int, Callable[[Executor, _Operands], None]]] = {
    Opcode.W_GPR: Executor.write_register,
    Opcode.R_GPR: Executor.read_register,
    Opcode.W_CFR: Executor.configure,
    Opcode.EWADD: Executor.add,
    Opcode.W_MEM: Executor.write_memory,
    Opcode.R_MEM: Executor.read_memory,
    Opcode.WR_SBK: Executor.write_banks,
    Opcode.RD_SBK: Executor.read_banks,
    Opcode.WR_ABK: Executor.write_lane,
    Opcode.WR_GB: Executor.write_buffer,
    Opcode.WR_BIAS: Executor.write_bias,
    Opcode.RD_MAC: Executor.read_sums,
    Opcode.RD_AF: Executor.read_activations,
    Opcode.COPY_BKGB: Executor.bank_to_buffer,
    Opcode.COPY_GBBK: Executor.buffer_to_bank,
    Opcode.MAC_SBK: Executor.multiply_one,
    Opcode.MAC_ABK: Executor.multiply_all,
    Opcode.AF: Executor.activate,
    Opcode.EWMUL: Executor.multiply_elements,
}
