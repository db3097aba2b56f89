"""The tables that constants give are those of the published set."""

from __future__ import annotations

import json

import numpy as np

from compiler_core.units.aim.machine.machine import AimEnergy, AimTiming, Command
from compiler_core.units.aim.machine.timing_rules import BANK_COMMANDS, timing_rules
from tests.compiler_core.units.aim.vectors import FOLDER

TABLE = json.loads((FOLDER / "timing.json").read_text())


def test_rules() -> None:
    expected = {scope: np.full((18, 18), -1) for scope in ("channel", "bank_group", "bank")}
    for rule in TABLE["rules"]:
        for before in rule["before"]:
            for after in rule["after"]:
                place = Command[before], Command[after]
                table = expected[rule["scope"]]
                table[place] = max(table[place], rule["cycles"])
    found = timing_rules(AimTiming())
    assert np.array_equal(found.channel, expected["channel"])
    assert np.array_equal(found.group, expected["bank_group"])
    assert np.array_equal(found.bank, expected["bank"])


def test_commands_and_completion() -> None:
    assert [command.name for command in Command] == TABLE["commands"]
    assert [command.name for command in BANK_COMMANDS] == TABLE["bank_commands"]
    found = timing_rules(AimTiming()).completion
    assert {name: int(found[Command[name]]) for name in TABLE["completion"]} == TABLE["completion"]


def test_constants() -> None:
    timing = AimTiming()
    for name, cycles in TABLE["constants"].items():
        if name != "nCLGB":  # no rule reads it
            assert getattr(timing, f"n_{name[1:].lower()}") == cycles, name
    assert timing.queue_capacity == TABLE["queue_capacity"]
    assert timing.write_enter_above == TABLE["write_mode_enter_above"]
    assert timing.write_leave_below == TABLE["write_mode_leave_below"]


def test_energies() -> None:
    energy, table = AimEnergy(), TABLE["energy"]
    assert energy.act_pj == table["ACT"]
    assert 16 * energy.act_pj == table["ACT16"]
    assert energy.read_pj == table["RD"] == table["AF16"] / 16
    assert energy.write_pj == table["WR"] == table["WRA16"] / 16
    assert energy.mac16_pj == table["MAC16"]
    assert abs(energy.mac16_pj / 16 - table["MAC"]) < 1e-4
    assert energy.mac16_pj / 4 == table["EWMUL16"]
    assert energy.bus_pj == table["bus_per_block"]
    assert energy.active_mw == table["standby_active_mW_per_channel"]
    assert energy.precharged_mw == table["standby_precharged_mW_per_channel"]
