"""The table of an AiM unit in a target file: the facet
:class:`~compiler_core.targets.unit_table.UnitTable`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compiler_core.targets.schema import Cycles, Energy, Section, UnitSection
from compiler_core.targets.unit_table import Figure
from compiler_core.units.aim.machine.machine import (
    BANKS,
    LANES,
    MOST_CHANNELS,
    MOST_REGISTERS,
    MOST_ROWS,
    AimEnergy,
    AimMachine,
    AimTiming,
)

Few = Annotated[int, Field(ge=1, le=1000)]
"""Cycles between two commands; at least one, so that no two fall together."""


class TimingSection(Section):
    """Constants of the cycle rules, named as in memory standards."""

    n_bl: Few
    n_cl: Few
    n_clreg: Annotated[int, Field(ge=0, le=1000)]
    n_cwl: Few
    n_cwlreg: Few
    n_cwlgb: Few
    n_rcdrd: Few
    n_rcdwr: Few
    n_rcdrdmac: Few
    n_rcdewmul: Few
    n_rcdrdaf: Few
    n_rcdrdcp: Few
    n_rcdwrcp: Few
    n_rp: Few
    n_ras: Few
    n_rc: Few
    n_wr: Few
    n_rtp: Few
    n_ccds: Few
    n_ccdl: Few
    n_rrds: Few
    n_rrdl: Few
    n_wtrs: Few
    n_wtrl: Few
    n_wpre: Annotated[int, Field(ge=0, le=1000)]
    n_modch: Few
    queue_capacity: Annotated[int, Field(ge=1, le=4096)]
    write_enter_above: Cycles
    write_leave_below: Cycles


class EnergySection(Section):
    """pJ per command and mW in standby."""

    act_pj: Energy
    read_pj: Energy
    write_pj: Energy
    mac16_pj: Energy
    bus_pj: Energy
    controller_final_pj: Energy
    controller_command_pj: Energy
    buffer_read_pj: Energy
    buffer_write_pj: Energy
    register_read_pj: Energy
    register_write_pj: Energy
    active_mw: Energy
    precharged_mw: Energy
    buffer_mw: Energy
    registers_mw: Energy


class AimSection(UnitSection):
    kind: Literal["aim"]
    channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    registers: Annotated[int, Field(ge=128, le=MOST_REGISTERS)]
    timing: TimingSection
    energy: EnergySection


class AimTable:
    """See :class:`~compiler_core.targets.unit_table.UnitTable`."""

    section = AimSection

    def machine(self, section: AimSection) -> AimMachine:
        return AimMachine(
            channels=section.channels,
            rows=section.rows,
            registers=section.registers,
            clock_hz=section.clock_hz,
            timing=AimTiming(**section.timing.model_dump()),
            energy=AimEnergy(**section.energy.model_dump()),
        )

    def figures(self, machine: AimMachine) -> tuple[Figure, ...]:
        macs = machine.channels * BANKS * LANES
        size = machine.rows * 2 * BANKS * machine.channels // 1024
        return (
            Figure(
                "channels", machine.channels, "channels", f"{machine.channels} of {BANKS} banks"
            ),
            Figure("macs_per_column", macs, "MACs", f"{macs} per column of all banks"),
            Figure("bank_mib", size, "banks", f"{size} MiB"),
            Figure("profile", "gddr6-aim", "rules", "gddr6-aim"),
        )


TABLE = AimTable()
