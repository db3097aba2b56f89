"""Where matrices, vectors and results of a product lie: addresses of every element.

Output ``o`` of a part of the outputs is computed in pass ``o / (16 Cg)``, by channel
``(o / 16) mod Cg`` of its group and bank ``o mod 16``. Group ``q`` holds columns ``q w`` to
``q w + w - 1`` of the inputs. What pads a ragged extent is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import BANKS, COLUMNS, LANES
from compiler_core.units.aim.schedule.mapping import mapping_of
from compiler_core.units.aim.schedule.schedule import Order, ProductSchedule, Side
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.numbers import Bits, to_bits, to_float

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Extents:
    """A mapping of one schedule as plain integers; see
    :class:`~compiler_core.units.aim.schedule.mapping.Mapping`."""

    used: int
    part_passes: int
    passes: int
    width: int
    chunks: int
    last: int
    copies: int
    rounds: int
    rows: int


@dataclass(frozen=True)
class BankLayout:
    """Places of one product on a device.

    Attributes:
        workload: What is computed.
        schedule: How; it has to be legal.
        first_row: Of the weights, in every bank of the channels that are used.
        first_channel: Of the channels that are used, which follow one another.
    """

    workload: MatrixVector
    schedule: ProductSchedule
    first_row: int = 0
    first_channel: int = 0

    @cached_property
    def mapping(self) -> Extents:
        """The mapping as plain integers."""
        s = self.schedule
        found = mapping_of(
            self.workload, s.groups, s.channels, s.heads, list(Order).index(s.order), s.packed,
            list(Side).index(s.activation),
        )  # fmt: skip
        return Extents(**{x.name: int(getattr(found, x.name)) for x in fields(Extents)})

    @property
    def rows(self) -> int:
        """Rows in use."""
        return self.mapping.rows

    @property
    def parts(self) -> int:
        """Parts of the outputs that have passes of their own."""
        return self.mapping.passes // self.mapping.part_passes

    @property
    def input_blocks(self) -> int:
        """Blocks of an input vector of every head, with what pads it."""
        return self.mapping.width * self.schedule.groups

    def channel(self, head: int, group: int, number: int) -> int:
        """A channel by its head at a time, group and number in the group."""
        s = self.schedule
        return self.first_channel + (head * s.groups + group) * s.channels + number

    def row_of(self, round_: int, chunk: int, of_pass: int) -> tuple[int, int]:
        """Row and first column of the weights of a pass and chunk."""
        m = self.mapping
        base = self.first_row + round_ * (m.rows // m.rounds)
        if chunk < m.chunks - 1:
            return base + chunk * m.passes + of_pass, 0
        row = base + (m.chunks - 1) * m.passes + of_pass // m.copies
        return row, (of_pass % m.copies) * m.last

    @cached_property
    def outputs(self) -> Ints:
        """Pass, channel in the group and bank of each output, ``int64[outputs, 3]``."""
        m, channels = self.mapping, self.schedule.channels
        each = -(-self.workload.outputs // self.parts)
        part, within = np.divmod(np.arange(self.workload.outputs), each)
        sixteen, bank = np.divmod(within, BANKS)
        passes, channel = np.divmod(sixteen, channels)
        return np.stack([part * m.part_passes + passes, channel, bank], axis=1)

    def weights(self, matrix: Bits) -> tuple[Ints, Bits]:
        """Addresses and blocks of matrices.

        Args:
            matrix: ``uint16[heads, outputs, inputs]``.

        Returns:
            ``int64[n, 4]`` (channel, bank, row, column) and ``uint16[n, 16]``.
        """
        blocks = self.matrix_blocks(matrix)
        head, output, block = np.indices(blocks.shape[:3]).reshape(3, -1)
        return self.addresses(head, output, block), blocks.reshape(-1, LANES)

    def matrix_blocks(self, matrix: Bits) -> Bits:
        """Matrices as blocks, ``uint16[heads, outputs, blocks, 16]``.

        Args:
            matrix: ``uint16[heads, outputs, inputs]``.
        """
        w = self.workload
        padded = np.zeros((w.heads, w.outputs, self.input_blocks * LANES), np.uint16)
        padded[:, :, : w.inputs] = matrix
        return padded.reshape(w.heads, w.outputs, self.input_blocks, LANES)

    def addresses(self, head: Ints, output: Ints, block: Ints) -> Ints:
        """Channel, bank, row and column of blocks of matrices, ``int64[n, 4]``."""
        m, s = self.mapping, self.schedule
        round_, at_a_time = np.divmod(head, s.heads)
        group, column = np.divmod(block, m.width)
        chunk, within = np.divmod(column, COLUMNS)
        passes, channel, bank = self.outputs[output].T
        in_last = chunk == m.chunks - 1
        last_row, place = np.divmod(passes, m.copies)
        row = np.where(in_last, (m.chunks - 1) * m.passes + last_row, chunk * m.passes + passes)
        return np.stack(
            [
                self.first_channel + (at_a_time * s.groups + group) * s.channels + channel,
                bank,
                self.first_row + round_ * (m.rows // m.rounds) + row,
                np.where(in_last, place * m.last, 0) + within,
            ],
            axis=1,
        )

    def inputs(self, vectors: npt.NDArray[Any]) -> Bits:
        """Vectors as blocks, ``uint16[vectors, heads, blocks, 16]``.

        Args:
            vectors: ``float32[vectors, heads, inputs]``.
        """
        w = self.workload
        padded = np.zeros((w.vectors, w.heads, self.input_blocks * LANES), np.float32)
        padded[:, :, : w.inputs] = vectors
        return to_bits(padded).reshape(w.vectors, w.heads, self.input_blocks, LANES)

    def biases(self, bias: npt.NDArray[Any]) -> Bits:
        """What the accumulators begin with, ``uint16[rounds, passes, channels, 16]``: the bias in
        the first group of each head, zero in the others.

        Args:
            bias: ``float32[heads, outputs]``.
        """
        m, s, w = self.mapping, self.schedule, self.workload
        shape = (m.rounds, m.passes, s.heads, s.groups, s.channels, BANKS)
        blocks = np.zeros(shape, np.uint16)
        passes, channel, bank = self.outputs.T
        for head in range(w.heads):
            round_, place = divmod(head, s.heads)
            blocks[round_, passes, place, 0, channel, bank] = to_bits(bias[head])
        return blocks.reshape(m.rounds, m.passes, m.used, BANKS)

    def results(self, blocks: Bits) -> npt.NDArray[np.float32]:
        """Results, ``float32[groups, vectors, heads, outputs]``; where the unit adds groups, the
        first one holds the sums.

        Args:
            blocks: ``uint16[vectors, rounds, passes, channels, 16]`` as the unit leaves them.
        """
        m, s, w = self.mapping, self.schedule, self.workload
        shape = (w.vectors, m.rounds, m.passes, s.heads, s.groups, s.channels, BANKS)
        values = to_float(blocks).reshape(shape)
        passes, channel, bank = self.outputs.T
        found = np.zeros((s.groups, w.vectors, w.heads, w.outputs), np.float32)
        for head in range(w.heads):
            round_, place = divmod(head, s.heads)
            for group in range(s.groups):
                found[group, :, head] = values[:, round_, passes, place, group, channel, bank]
        return found
