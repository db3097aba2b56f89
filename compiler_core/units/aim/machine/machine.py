"""The machine in numbers, as frozen values.

What the instruction set fixes are constants here: 16 banks in 4 groups, rows of 64 blocks of 16
bfloat16 values, and channel masks of 32 bits. What a target file may change are fields.

Source: the device as papers of its vendor describe it; cycle rules as an independent cycle
simulator has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

MOST_CHANNELS: Final = 32
BANKS: Final = 16
BANKS_PER_GROUP: Final = 4
GROUPS: Final = BANKS // BANKS_PER_GROUP
MOST_ROWS: Final = 16_384
COLUMNS: Final = 64
"""Blocks in a row of a bank, and in the global buffer."""
LANES: Final = 16
"""bfloat16 values in a block."""
BLOCK_BYTES: Final = 2 * LANES
MOST_REGISTERS: Final = 1 << 20
TABLE_ROW: Final = 1 << 29
"""Row number of the first table of an activation function, beyond all data."""


class Command(IntEnum):
    """What a channel issues to its banks, at most one in a cycle."""

    ACT = 0
    ACT16 = 1
    PRE = 2
    PREA = 3
    RD = 4
    WR = 5
    MAC = 6
    MAC16 = 7
    AF16 = 8
    EWMUL16 = 9
    RDCP = 10
    WRCP = 11
    WRGB = 12
    RDMAC16 = 13
    RDAF16 = 14
    WRMAC16 = 15
    WRA16 = 16
    TMOD = 17


@dataclass(frozen=True)
class AimTiming:
    """Constants of the cycle rules, in cycles, named as in memory standards.

    Attributes:
        n_bl: Burst of one block.
        n_cl, n_clreg: Read latency of a bank and of registers.
        n_cwl, n_cwlreg, n_cwlgb: Write latency of a bank, of registers and of the buffer.
        n_rcdrd, n_rcdwr: From activation to read and write.
        n_rcdrdmac, n_rcdewmul, n_rcdrdaf, n_rcdrdcp, n_rcdwrcp: From activation to the others.
        n_rp, n_ras, n_rc: Precharge, least time a row is open, activation to activation.
        n_wr, n_rtp: From the end of a write, and from a read, to precharge.
        n_ccds, n_ccdl: Between columns.
        n_rrds, n_rrdl: Between activations of different and of the same bank group.
        n_wtrs, n_wtrl: From the end of a write to a read.
        n_wpre: Write preamble.
        n_modch: Change between bank and register mode.
        queue_capacity: Requests in each queue of a channel.
        write_enter_above, write_leave_below: Writes in the queue at which a channel begins to
            prefer writes, and at which it prefers reads again.
    """

    n_bl: int = 2
    n_cl: int = 50
    n_clreg: int = 0
    n_cwl: int = 6
    n_cwlreg: int = 1
    n_cwlgb: int = 1
    n_rcdrd: int = 36
    n_rcdwr: int = 28
    n_rcdrdmac: int = 56
    n_rcdewmul: int = 25
    n_rcdrdaf: int = 86
    n_rcdrdcp: int = 66
    n_rcdwrcp: int = 48
    n_rp: int = 32
    n_ras: int = 54
    n_rc: int = 89
    n_wr: int = 33
    n_rtp: int = 12
    n_ccds: int = 2
    n_ccdl: int = 2
    n_rrds: int = 5
    n_rrdl: int = 6
    n_wtrs: int = 9
    n_wtrl: int = 11
    n_wpre: int = 1
    n_modch: int = 32
    queue_capacity: int = 33
    write_enter_above: int = 25
    write_leave_below: int = 7


@dataclass(frozen=True)
class AimEnergy:
    """Energy per command in pJ, and standby power in mW.

    Attributes:
        act_pj: One bank opens a row; ``ACT16`` is 16 of them.
        read_pj: ``RD``, ``RDCP``, ``RDMAC16``, ``RDAF16``; ``AF16`` is 16 of them.
        write_pj: ``WR``, ``WRCP``, ``WRMAC16``; ``WRA16`` is 16 of them.
        mac16_pj: A column in all banks; ``MAC`` is a 16th, ``EWMUL16`` a quarter.
        bus_pj: A block on the external bus.
        controller_final_pj: Memory controller, per command that ends a request.
        controller_command_pj: Memory controller, per command of any kind.
        buffer_read_pj, buffer_write_pj: Global buffer, per block.
        register_read_pj, register_write_pj: General registers, per block.
        active_mw, precharged_mw: Standby of a channel with and without an open row.
        buffer_mw, registers_mw: Static, per channel and of all registers.
    """

    act_pj: float = 2950.35
    read_pj: float = 547.6875
    write_pj: float = 691.4375
    mac16_pj: float = 1314.45
    bus_pj: float = 1408.0
    controller_final_pj: float = 66.9271
    controller_command_pj: float = 95.2611
    buffer_read_pj: float = 0.1393
    buffer_write_pj: float = 0.1627
    register_read_pj: float = 1.6036
    register_write_pj: float = 1.8771
    active_mw: float = 263.75
    precharged_mw: float = 183.15
    buffer_mw: float = 0.067
    registers_mw: float = 0.6918


@dataclass(frozen=True)
class AimMachine:
    """One device.

    Attributes:
        channels: Independent channels.
        rows: Per bank.
        registers: General registers of the host, a block each.
        clock_hz: Of its cycles.
        timing: Cycle rules.
        energy: Energies.
        kind: Name of the kind.
    """

    channels: int = MOST_CHANNELS
    rows: int = MOST_ROWS
    registers: int = 4096
    clock_hz: float = 2e9
    timing: AimTiming = field(default_factory=AimTiming)
    energy: AimEnergy = field(default_factory=AimEnergy)
    kind: str = "aim"

    @property
    def every_channel(self) -> int:
        """Mask of all channels: bit ``31 - i`` selects channel ``i``."""
        return mask_of(range(self.channels))


def mask_of(channels: range | tuple[int, ...] | list[int]) -> int:
    """The mask that selects channels."""
    return sum(1 << (MOST_CHANNELS - 1 - channel) for channel in channels)


def channels_of(mask: int) -> tuple[int, ...]:
    """Channels that a mask selects, ascending."""
    return tuple(c for c in range(MOST_CHANNELS) if mask >> (MOST_CHANNELS - 1 - c) & 1)
