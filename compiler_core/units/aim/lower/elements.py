"""Programs of products of elements: both vectors lie in banks of a group, side by side.

Those of tensors of a model come from general registers, row by row: each row is written, multiplied
and read while it is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError
from compiler_core.units.aim.machine.machine import (
    BANKS_PER_GROUP,
    COLUMNS,
    GROUPS,
    LANES,
    AimMachine,
    mask_of,
)
from compiler_core.units.aim.program.instructions import (
    EWMUL_GROUPS,
    Opcode,
    Program,
    program_of,
    record,
)
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import ElementSchedule
from compiler_core.units.aim.schedule.workload import ElementProduct
from compiler_core.units.aim.simulate.numbers import Bits, to_bits


@dataclass(frozen=True)
class ElementLaunch:
    """The program of a product of elements.

    Attributes:
        workload: What is computed.
        schedule: How.
        first_row: Of the vectors.
    """

    workload: ElementProduct
    schedule: ElementSchedule
    first_row: int = 0

    @property
    def columns(self) -> int:
        """Columns in the fullest bank, over all rows."""
        s = self.schedule
        return -(-self.workload.blocks // (s.channels * s.bank_groups))

    @property
    def rows(self) -> int:
        """Rows in use."""
        return -(-self.columns // COLUMNS)

    @cached_property
    def program(self) -> Program:
        """The program."""
        s = self.schedule
        mask = mask_of(range(s.channels))
        found = []
        if s.bank_groups < GROUPS:
            found.append(record(Opcode.W_CFR, gpr=EWMUL_GROUPS, value=0))
        for row in range(self.rows):
            found += self._writes(row) if self.workload.crosses else []
            size = min(COLUMNS, self.columns - row * COLUMNS)
            for start in range(0, size, s.cut):
                found.append(
                    record(
                        Opcode.EWMUL,
                        n=min(s.cut, size - start),
                        mask=mask,
                        row=self.first_row + row,
                        col=start,
                    )
                )
            found += self._reads(row) if self.workload.crosses else []
        return program_of([*found, record(Opcode.EOC)])

    def _writes(self, row: int) -> list[tuple[int, ...]]:
        """Both factors of a row from registers: all of the first, then all of the second."""
        found = []
        for factor in range(2):
            places = self.places(factor)
            for block in np.flatnonzero(places[:, 2] == self.first_row + row).tolist():
                channel, bank, _, column = places[block].tolist()
                register = factor * self.workload.blocks + block
                found.append(
                    record(
                        Opcode.WR_SBK, gpr=register, mask=mask_of([channel]), bank=bank,
                        row=self.first_row + row, col=column,
                    )
                )  # fmt: skip
        return found

    def _reads(self, row: int) -> list[tuple[int, ...]]:
        """The products of a row to registers, of all channels at a time."""
        places, found = self.places(2), []
        own = np.flatnonzero(places[:, 2] == self.first_row + row)
        for column, bank in np.unique(places[own][:, [3, 1]], axis=0).tolist():
            blocks = own[(places[own, 3] == column) & (places[own, 1] == bank)]
            mask = mask_of(places[blocks, 0].tolist())
            register = int(self.registers[blocks].min())
            found.append(
                record(
                    Opcode.RD_SBK, gpr=register, mask=mask, bank=bank, row=self.first_row + row,
                    col=column,
                )
            )  # fmt: skip
        return found

    @cached_property
    def registers(self) -> npt.NDArray[np.int64]:
        """The register of the product of each block: channels of a column follow one another."""
        places = self.places(2)
        order = np.lexsort((places[:, 0], places[:, 1], places[:, 3], places[:, 2]))
        found = np.empty(len(places), np.int64)
        found[order] = 2 * self.workload.blocks + np.arange(len(places))
        return found

    def places(self, bank: int) -> npt.NDArray[np.int64]:
        """Addresses of the blocks of a vector, ``int64[blocks, 4]``.

        Args:
            bank: In each group: 0 and 1 for the factors, 2 for the product.
        """
        s = self.schedule
        column, share = np.divmod(np.arange(self.workload.blocks), s.channels * s.bank_groups)
        channel, group = np.divmod(share, s.bank_groups)
        row, within = np.divmod(column, COLUMNS)
        return np.stack(
            [channel, group * BANKS_PER_GROUP + bank, self.first_row + row, within], axis=1
        )

    def blocks(self, values: npt.NDArray[Any]) -> Bits:
        """A vector as blocks, ``uint16[blocks, 16]``."""
        padded = np.zeros(self.workload.blocks * LANES, np.float32)
        padded[: self.workload.elements] = values
        return to_bits(padded).reshape(-1, LANES)


def element_launch(
    workload: ElementProduct, schedule: ElementSchedule, machine: AimMachine
) -> ElementLaunch:
    """The program of a schedule.

    Raises:
        InfeasibleError: It is not legal.
    """
    require_legal(workload, schedule, machine)
    return ElementLaunch(workload, schedule)


def require_legal(workload: ElementProduct, schedule: ElementSchedule, machine: AimMachine) -> None:
    """Refuses a schedule that breaks a rule.

    Raises:
        InfeasibleError: It does.
    """
    found = violations(workload, schedule, machine)
    if found:
        raise InfeasibleError(f"schedule for {workload.operator}: {found[0]}")
