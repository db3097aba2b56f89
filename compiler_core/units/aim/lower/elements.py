"""Programs of products of elements: both vectors lie in banks of a group, side by side."""

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
        return program_of([*found, record(Opcode.EOC)])

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
    found = violations(workload, schedule, machine)
    if found:
        raise InfeasibleError(f"schedule for {workload.operator}: {found[0]}")
    return ElementLaunch(workload, schedule)
