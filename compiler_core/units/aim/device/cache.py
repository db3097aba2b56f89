"""A key-value cache in the banks: attention of one token at a time, without moving the cache.

Keys are the matrix of the scores, a row per token; values are that of the weighted sum, a column
per token. A new token's key is written block by block; its value is one lane of the blocks of all
banks, which one instruction writes for 16 of them. The CPU scales scores and takes their softmax.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.units.aim.device.device import Device, Floats, ResidentProduct
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.machine.machine import BANKS, COLUMNS, LANES, mask_of
from compiler_core.units.aim.program.instructions import Opcode, program_of, record
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.schedule import ProductSchedule
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.numbers import to_bits


def score_workload(heads: int, size: int, tokens: int) -> MatrixVector:
    """Scores of one query per head against all tokens of a cache."""
    return MatrixVector(tokens, size, heads=heads)


def sum_workload(heads: int, size: int, tokens: int) -> MatrixVector:
    """Sums of the values of all tokens of a cache, weighted per head."""
    return MatrixVector(size, tokens, heads=heads)


class KeyValueCache:
    """Keys and values of some heads in the banks of a device.

    Args:
        device: Where.
        heads, size: Of keys and values.
        tokens: That there is room for.
        scores, sums: Schedules; untuned ones without.

    Attributes:
        length: Tokens that were appended.

    Raises:
        InfeasibleError: It does not fit.
    """

    def __init__(
        self,
        device: Device,
        heads: int,
        size: int,
        tokens: int,
        *,
        scores: ProductSchedule | None = None,
        sums: ProductSchedule | None = None,
    ) -> None:
        self.length = 0
        self._device, self._heads, self._size, self._tokens = device, heads, size, tokens
        self._scores = self._product(score_workload(heads, size, tokens), scores)
        self._sums = self._product(sum_workload(heads, size, tokens), sums)

    def _product(self, workload: MatrixVector, given: ProductSchedule | None) -> ResidentProduct:
        schedule = given or default_schedule(workload, self._device.machine)
        assert isinstance(schedule, ProductSchedule)
        return ResidentProduct(self._device, workload, schedule, None)

    def append(self, key: npt.NDArray[Any], value: npt.NDArray[Any]) -> None:
        """Writes a token.

        Args:
            key, value: ``float32[heads, size]``.

        Raises:
            InfeasibleError: There is no room.
        """
        wanted = (self._heads, self._size)
        if np.shape(key) != wanted or np.shape(value) != wanted:
            raise InputError(f"key {np.shape(key)} and value {np.shape(value)}; {wanted} is needed")
        if self.length == self._tokens:
            raise InfeasibleError(f"a cache of {self._tokens} tokens is full")
        self._write_key(to_bits(key))
        self._write_value(to_bits(value))
        self.length += 1

    def _write_key(self, key: npt.NDArray[np.uint16]) -> None:
        layout = self._scores.layout
        blocks = -(-self._size // LANES)
        padded = np.zeros((self._heads, blocks * LANES), np.uint16)
        padded[:, : self._size] = key
        rows, registers = [], padded.reshape(-1, LANES)
        for head in range(self._heads):
            for block in range(blocks):
                channel, bank, row, column = _place(layout, head, self.length, block)
                rows.append(
                    record(
                        Opcode.WR_SBK, gpr=head * blocks + block, mask=mask_of([channel]),
                        bank=bank, row=row, col=column,
                    )
                )  # fmt: skip
        self._launch(rows, registers)

    def _write_value(self, value: npt.NDArray[np.uint16]) -> None:
        layout = self._sums.layout
        block, lane = divmod(self.length, LANES)
        groups = -(-self._size // BANKS)
        padded = np.zeros((self._heads, groups * BANKS), np.uint16)
        padded[:, : self._size] = value
        rows, registers = [], padded.reshape(-1, LANES)
        for head in range(self._heads):
            for group in range(groups):
                channel, _, row, column = _place(layout, head, group * BANKS, block)
                rows.append(
                    record(
                        Opcode.WR_ABK, gpr=head * groups + group, mask=mask_of([channel]),
                        row=row, col=column, lane=lane,
                    )
                )  # fmt: skip
        self._launch(rows, registers)

    def _launch(self, rows: list[tuple[int, ...]], registers: npt.NDArray[np.uint16]) -> None:
        """Runs writes of blocks, as many at a time as there are registers."""
        most = self._device.machine.registers
        for start in range(0, len(rows), most):
            part = [list(row) for row in rows[start : start + most]]
            for row in part:
                row[7] -= start  # the general register
            chosen = registers[start : start + most]
            self._device.memory.registers[: len(chosen)] = chosen
            self._device.run(program_of([*part, record(Opcode.EOC)]))

    def attend(self, query: npt.NDArray[Any], scale: float | None = None) -> Floats:
        """Attention of one token over all that were appended.

        Args:
            query: ``float32[heads, size]``.
            scale: Of scores; one over the square root of the size without.

        Returns:
            ``float32[heads, size]``.
        """
        if self.length == 0:
            raise InputError("attention over an empty cache")
        factor = np.float32(self._size**-0.5 if scale is None else scale)
        scores = self._scores.run(np.asarray(query, np.float32)[None])[0] * factor
        scores[:, self.length :] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        found: Floats = self._sums.run(weights[None])[0]
        return found


def _place(layout: BankLayout, head: int, output: int, block: int) -> tuple[int, int, int, int]:
    """Channel, bank, row and column of a block of a matrix."""
    m, s = layout.mapping, layout.schedule
    round_, at_a_time = divmod(head, s.heads)
    group, column = divmod(block, m.width)
    chunk, within = divmod(column, COLUMNS)
    of_pass, channel, bank = layout.outputs[output].tolist()
    row, first = layout.row_of(round_, chunk, of_pass)
    return layout.channel(at_a_time, group, channel), bank, row, first + within
