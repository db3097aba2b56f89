"""Programs of several layers that were run on two RTLs: bytes, cycles and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta.simulate.test_timing import PROFILES

VECTORS = Path(__file__).parents[4] / "vectors" / "vta_merged"
PROGRAMS = json.loads((VECTORS / "manifest.json").read_bytes())["programs"]
POSITIVE = [entry for entry in PROGRAMS if entry["expected"] == "success"]
NEGATIVE = [entry for entry in PROGRAMS if entry["expected"] == "error"]
GEOMETRY = load_target("vta").npu.geometry


def test_all_vectors_are_there() -> None:
    assert (len(POSITIVE), len(NEGATIVE)) == (15, 3)


@pytest.mark.parametrize("entry", POSITIVE, ids=lambda entry: entry["name"])
def test_bytes_and_cycles_equal_the_rtl(entry: dict[str, Any]) -> None:
    program = read_program_file(VECTORS / entry["file"])
    dram = program.dram()
    assert first_error(verify(program.instructions, GEOMETRY, dram)) is None
    execute(program.instructions, GEOMETRY, dram)
    np.testing.assert_array_equal(dram, program.expected_dram())
    with np.load(VECTORS / entry["file"], allow_pickle=False) as arrays:
        for profile, (timing, name) in PROFILES.items():
            cycles = time_program(arrays[name], timing, GEOMETRY).cycles
            assert cycles == entry[f"cycles_{profile}"]


@pytest.mark.parametrize("entry", NEGATIVE, ids=lambda entry: entry["name"])
def test_what_is_not_ordered_is_refused(entry: dict[str, Any]) -> None:
    program = read_program_file(VECTORS / entry["file"])
    error = first_error(verify(program.instructions, GEOMETRY, program.dram()))
    assert error is not None
    assert error.finding_class.value == entry["expected_error"]
