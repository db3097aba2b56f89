"""Energy of a program, from published constants that were never measured here.

Source: constants of the CENT power scripts (ASPLOS 2025), from currents that the vendor states and
from synthesis. How often registers are read and written follows from the instructions: a block is
read once for all channels that it is broadcast to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from compiler_core.units.aim.machine.machine import AimMachine, Command
from compiler_core.units.aim.program.instructions import Opcode, Records
from compiler_core.units.aim.simulate.requests import selected
from compiler_core.units.aim.simulate.timing import TimingResult

ORIGIN: Final = "published"
SOURCE: Final = "power scripts of CENT (ASPLOS 2025); never measured"

_READS = (Command.RD, Command.RDCP, Command.RDMAC16, Command.RDAF16)
_WRITES = (Command.WR, Command.WRCP, Command.WRMAC16)
_ON_BUS = (
    Command.RD, Command.WR, Command.WRGB, Command.RDMAC16, Command.RDAF16, Command.WRMAC16,
    Command.WRA16,
)  # fmt: skip
_NOT_FINAL = (Command.ACT, Command.ACT16, Command.PRE, Command.PREA, Command.TMOD)


@dataclass(frozen=True)
class Energy:
    """Energy of a run by what it went to.

    Attributes:
        rows_pj: Activations.
        columns_pj: Reads and writes of columns.
        compute_pj: Multiplications and activation functions.
        bus_pj: External bus.
        controller_pj: Memory controller.
        registers_pj: Global buffers and general registers, with what they take when idle.
        standby_pj: Channels, with and without an open row.
    """

    rows_pj: float
    columns_pj: float
    compute_pj: float
    bus_pj: float
    controller_pj: float
    registers_pj: float
    standby_pj: float

    @property
    def total_pj(self) -> float:
        """All of it."""
        return (
            self.rows_pj + self.columns_pj + self.compute_pj + self.bus_pj + self.controller_pj
            + self.registers_pj + self.standby_pj
        )  # fmt: skip


def energy_of(records: Records, timing: TimingResult, machine: AimMachine) -> Energy:
    """Energy of a program that was timed."""
    e = machine.energy
    issued = np.zeros(len(Command))
    for name, count in timing.commands.items():
        issued[Command[name]] = count
    total = float(issued.sum())
    ns = 1e9 / machine.clock_hz
    reads, writes = _register_accesses(records, machine.channels)
    buffered = float(issued[Command.WRGB] + issued[Command.RDCP])
    compute = e.mac16_pj * (
        issued[Command.MAC16] + issued[Command.MAC] / 16 + issued[Command.EWMUL16] / 4
    )
    static_mw = e.buffer_mw * machine.channels + e.registers_mw
    return Energy(
        rows_pj=float(e.act_pj * (issued[Command.ACT] + 16 * issued[Command.ACT16])),
        columns_pj=float(
            e.read_pj * issued[list(_READS)].sum()
            + e.write_pj * (issued[list(_WRITES)].sum() + 16 * issued[Command.WRA16])
        ),
        compute_pj=float(compute + 16 * e.read_pj * issued[Command.AF16]),
        bus_pj=float(e.bus_pj * issued[list(_ON_BUS)].sum()),
        controller_pj=e.controller_command_pj * total
        + e.controller_final_pj * (total - float(issued[list(_NOT_FINAL)].sum())),
        registers_pj=e.buffer_read_pj * float(issued[Command.WRCP])
        + e.buffer_write_pj * buffered
        + e.register_read_pj * reads
        + e.register_write_pj * writes
        + static_mw * ns * timing.cycles,
        standby_pj=ns
        * (
            e.active_mw * timing.active_cycles + e.precharged_mw * timing.precharged_cycles
        ),
    )  # fmt: skip


def _register_accesses(records: Records, channels: int) -> tuple[int, int]:
    """Blocks of general registers that are read and written."""
    op, n = records["op"], records["n"]
    chosen = selected(records, channels).sum(axis=1)

    def total(blocks: np.ndarray[tuple[int], np.dtype[np.int64]], *codes: Opcode) -> int:
        return int(blocks[np.isin(op, [int(code) for code in codes])].sum())

    one = np.ones(len(op), np.int64)
    reads = (
        total(one, Opcode.R_GPR, Opcode.WR_SBK, Opcode.WR_ABK)
        + total(n, Opcode.WR_GB)
        + total(2 * n, Opcode.EWADD)
        + total(chosen, Opcode.WR_BIAS)
    )
    writes = (
        total(one, Opcode.W_GPR)
        + total(n, Opcode.EWADD)
        + total(chosen, Opcode.RD_SBK, Opcode.RD_MAC, Opcode.RD_AF)
    )
    return reads, writes
