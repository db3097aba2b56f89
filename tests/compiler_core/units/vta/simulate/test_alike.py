"""Programs that differ by where their arrays lie in DRAM take the same time."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import (
    MemoryType,
    Opcode,
    element_bytes_per_type,
    encode,
)
from compiler_core.units.vta.simulate.alike import timed_words
from compiler_core.units.vta.simulate.timing import time_program
from tests.compiler_core.units.vta.random_programs import random_program, random_timing

CORE = load_target("vta").unit("vta").machine


@pytest.mark.parametrize("seed", range(120))
def test_programs_alike_take_the_same_time(seed: int) -> None:
    assert isinstance(CORE, VtaCore)
    rng = np.random.default_rng(seed)
    timing = random_timing(rng)
    program = random_program(rng)
    moved = program.copy()
    widths = element_bytes_per_type(timing.element_bytes)
    moves = np.isin(program["opcode"], (Opcode.LOAD, Opcode.STORE))
    for kind in MemoryType:  # each array lies elsewhere
        step = max(1, timing.burst_boundary_bytes // int(widths[kind]))
        own = moves & (program["memory_type"] == kind)
        moved["dram_base"][own] += int(rng.integers(0, 50)) * step
    first, second = encode(program), encode(moved)
    np.testing.assert_array_equal(timed_words(first, timing), timed_words(second, timing))
    one, other = (
        time_program(each, timing, CORE.geometry, CORE.energy, trace=True)
        for each in (first, second)
    )
    assert one.trace is not None
    assert other.trace is not None
    for name, values in vars(one.trace).items():
        np.testing.assert_array_equal(values, getattr(other.trace, name))
    assert one.cycles == other.cycles
    assert one.traffic == other.traffic
    assert one.energy == other.energy


@pytest.mark.parametrize("seed", range(40))
def test_what_differs_otherwise_is_not_alike(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    timing, program = random_timing(rng), random_program(rng)
    row = int(rng.integers(0, len(program)))
    changed = program.copy()
    moves = program["opcode"][row] in (Opcode.LOAD, Opcode.STORE)
    wide = (
        moves
        and timing.burst_boundary_bytes
        <= element_bytes_per_type(timing.element_bytes)[program["memory_type"][row]]
    )
    changed["dram_base" if moves and not wide else "pop_prev"][row] ^= 1  # below every boundary
    first, second = (timed_words(encode(each), timing) for each in (program, changed))
    assert (first != second).any()
