"""What runs write to the banks before they multiply: rows of matrices that are tensors of the
model, a key-value cache above all.

A row of outputs, a key, is written block by block. A row of inputs, a value, is one lane of blocks:
an instruction writes it for 16 outputs. Where all inputs are written, whole blocks are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compiler_core.units.aim.lower.layout import BankLayout, Ints
from compiler_core.units.aim.machine.machine import BANKS, LANES, mask_of
from compiler_core.units.aim.program.instructions import Opcode, record
from compiler_core.units.aim.simulate.numbers import Bits


@dataclass(frozen=True)
class RowWrites:
    """Writes of some rows of all matrices of a product; heads take turns, so that channels do.

    Attributes:
        layout: Of the product.
        places: Which rows of outputs, or of inputs.
    """

    layout: BankLayout
    places: tuple[int, ...]

    @property
    def in_lanes(self) -> bool:
        """Whether rows of inputs are written lane by lane."""
        w = self.layout.workload
        return 0 < w.written_inputs < w.inputs

    @cached_property
    def _subjects(self) -> tuple[Ints, Ints, Ints]:
        """Head, output and block of every write; of 16 outputs the first."""
        w = self.layout.workload
        heads = np.arange(w.heads)
        if self.in_lanes:
            outputs = np.arange(0, w.outputs, BANKS)
            place, output, head = np.meshgrid(self.places, outputs, heads, indexing="ij")
            return head.ravel(), output.ravel(), place.ravel() // LANES
        whole = bool(w.written_inputs)
        rows = np.arange(w.outputs) if whole else np.asarray(self.places, np.int64)
        row, block, head = np.meshgrid(rows, np.arange(w.columns), heads, indexing="ij")
        return head.ravel(), row.ravel(), block.ravel()

    def __len__(self) -> int:
        """Writes, each of a block from a register of its own."""
        return len(self._subjects[0])

    def records(self, part: range, first_register: int) -> list[tuple[int, ...]]:
        """Instructions of some of the writes, from registers that follow one another."""
        found = []
        lanes = np.repeat(np.asarray(self.places, np.int64) % LANES, self._per_place)
        addresses = self.layout.addresses(*self._subjects)
        for at, (channel, bank, row, column) in enumerate(
            addresses[part.start : part.stop].tolist()
        ):
            register, mask = first_register + at, mask_of([channel])
            if self.in_lanes:
                lane = int(lanes[part.start + at])
                made = record(
                    Opcode.WR_ABK, gpr=register, mask=mask, row=row, col=column, lane=lane
                )
            else:
                made = record(
                    Opcode.WR_SBK, gpr=register, mask=mask, bank=bank, row=row, col=column
                )
            found.append(made)
        return found

    @property
    def _per_place(self) -> int:
        return len(self) // max(1, len(self.places))

    def blocks(self, matrix: Bits) -> Bits:
        """What the registers of all writes hold, ``uint16[n, 16]``.

        Args:
            matrix: ``uint16[heads, outputs, inputs]``, with the rows that are written.
        """
        head, output, block = self._subjects
        if not self.in_lanes:
            blocks: Bits = self.layout.matrix_blocks(matrix)[head, output, block]
            return blocks
        w = self.layout.workload
        padded = np.zeros((w.heads, -(-w.outputs // BANKS) * BANKS, w.inputs), np.uint16)
        padded[:, : w.outputs] = matrix
        columns = np.repeat(np.asarray(self.places, np.int64), self._per_place)
        found: Bits = padded[head[:, None], output[:, None] + np.arange(BANKS), columns[:, None]]
        return found


def row_writes(layout: BankLayout, places: Sequence[int] | None = None) -> RowWrites | None:
    """The writes of a product; ``None`` where its matrices stay.

    Args:
        layout: Of the product.
        places: Rows; the first ones without. Wherever one is, writing it takes as long; several
            are side by side.
    """
    w = layout.workload
    if not w.is_written:
        return None
    count = w.written_outputs or w.written_inputs
    return RowWrites(layout, tuple(range(count)) if places is None else tuple(places))
