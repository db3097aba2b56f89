"""Every vector: cycles, commands, activity, bits, and the class of what is illegal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.program_file import read_program_file
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.aim.tool.simulate import simulate
from compiler_core.units.aim.verify.verify import verify
from tests.compiler_core.units.aim.vectors import FOLDER, arrays, manifest, program

LEGAL = [name for name, e in manifest().items() if e["expected"]["result"] == "success"]
ILLEGAL = [name for name in manifest() if name not in LEGAL]
WITH_DATA = [name for name in LEGAL if manifest()[name].get("data_file")]
MACHINE = AimMachine()


def test_the_bundled_target_is_the_machine_of_the_vectors() -> None:
    assert load_target("aim-gddr6").npu == MACHINE


def test_nothing_is_left_out() -> None:
    assert (len(LEGAL), len(ILLEGAL), len(WITH_DATA)) == (176, 26, 27)


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name: str) -> None:
    expected = manifest()[name]["expected"]
    found = program(name)
    assert verify(found, MACHINE) == ()
    timing = time_program(found.records, MACHINE)
    assert timing.cycles == expected["cycles"]
    assert timing.commands == {k: v for k, v in expected["commands"].items() if v}
    for counter in ("active_cycles", "precharged_cycles", "idle_cycles"):
        assert getattr(timing, counter) == expected[counter], counter


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal(name: str) -> None:
    expected = manifest()[name]["expected"]
    first = verify(program(name), MACHINE)[0]
    assert (first.finding_class.value, first.instruction) == (
        expected["error"],
        expected["instruction"],
    )
    assert first.demand != first.bound
    assert first.advice


def _table(addresses: Any, blocks: Any) -> dict[Any, bytes]:
    places = [tuple(np.atleast_1d(place).tolist()) for place in addresses]
    return dict(zip(places, [block.tobytes() for block in blocks], strict=True))


@pytest.mark.parametrize("name", WITH_DATA)
def test_bits(name: str) -> None:
    path = FOLDER / manifest()[name]["data_file"]
    file = read_program_file(path, MACHINE)
    given = program(name).records
    for field in ("op", "n", "bank", "col", "lane", "row", "mask", "gpr", "gpr2"):
        assert np.array_equal(file.program.records[field], given[field]), field
    result = simulate(file, MACHINE)
    assert result.memory is not None
    after, expected = result.memory.afterwards(), arrays(path)
    pairs = [("bank_addr", "bank_data"), ("gpr_addr", "gpr_data"), ("gb_addr", "gb_data")]
    pairs += [("acc_channel", "acc"), ("af_channel", "af")]
    for place, data in pairs:
        one = _table(expected[f"post_{place}"], expected[f"post_{data}"])
        assert _table(after[f"post_{place}"], after[f"post_{data}"]) == one, data
    assert np.array_equal(after["read_data"], expected["read_data"])
