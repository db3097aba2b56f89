"""Verified, executed and timed: the conformance vectors through the one entry point."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.units.vta.machine.hardware import TimingProfile
from compiler_core.units.vta.machine.profiles import PROFILES, RTL_PIPELINED_32BIT
from compiler_core.units.vta.machine.program_file import ProgramFile, Segment, read_program_file
from compiler_core.units.vta.tool.simulate import simulate
from tests.compiler_core.units.vta.reference_functional import (
    ACC,
    ADD,
    ALU,
    FINISH,
    LOAD,
    OUT,
    STORE,
    UOP,
    micro_op,
    pack,
    stream,
)
from tests.compiler_core.units.vta.vectors import CORE, NEGATIVE, POSITIVE, VECTORS


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"])


@pytest.mark.parametrize("entry", POSITIVE, ids=_name)
def test_positive_vector_in_both_profiles(entry: dict[str, Any]) -> None:
    program = read_program_file(VECTORS / entry["file"])
    expected = program.expected_dram()
    for profile, cycles in (
        (TimingProfile.RTL2020, entry["cycles_rtl2020"]),
        (TimingProfile.RTL_PIPELINED, entry["cycles_pipelined"]),
    ):
        result = simulate(program, CORE, profile=profile)
        assert result.error is None
        assert result.cycles == cycles
        np.testing.assert_array_equal(result.dram, expected)


@pytest.mark.parametrize("profile", [None, *TimingProfile])
@pytest.mark.parametrize("entry", NEGATIVE, ids=_name)
def test_negative_vector_is_classified(
    entry: dict[str, Any], profile: TimingProfile | None
) -> None:
    result = simulate(read_program_file(VECTORS / entry["file"]), CORE, profile=profile)
    assert result.error is not None
    assert result.error.error_class == entry["expected_error"]
    assert result.error.message
    assert result.dram is None
    assert result.timing is None
    assert result.cycles is None


def test_both_kinds_of_vectors_are_there() -> None:
    assert (len(POSITIVE), len(NEGATIVE)) == (72, 13)


def test_profiles_are_the_measured_ones() -> None:
    manifest = json.loads((VECTORS / "manifest.json").read_bytes())["profiles"]
    assert {profile.value for profile in PROFILES} == set(manifest)
    for profile, timing in PROFILES.items():
        assert timing.profile is profile
        facts = manifest[profile.value]
        assert dataclasses.asdict(timing.element_bytes) == facts["element_bytes"]
        assert timing.port_bytes * 8 == facts["port_bits"]
        assert timing.burst_beats == facts["max_burst_beats"]
        assert timing.queue_depth == facts["queue_depth"]


def test_without_a_profile_the_core_times_the_plain_stream() -> None:
    entry = next(entry for entry in POSITIVE if entry["kind"] == "layer")
    program = read_program_file(VECTORS / entry["file"])
    assert simulate(program, CORE).cycles == entry["cycles_rtl2020"]
    narrow = dataclasses.replace(
        CORE,
        timing=dataclasses.replace(RTL_PIPELINED_32BIT, element_bytes=CORE.geometry.element_bytes),
    )
    cycles = simulate(program, narrow).cycles
    assert cycles is not None
    assert cycles < entry["cycles_pipelined"]


def test_the_pipelined_stream_needs_no_dram() -> None:
    entry = next(entry for entry in POSITIVE if entry["kind"] == "micro")
    program = read_program_file(VECTORS / entry["file"])
    assert program.pipelined_instructions is not None
    far = program.pipelined_instructions.copy()
    # The highest bit of dram_base of every LOAD and STORE.
    far[(far[:, 0] & 7) <= 1, 7] |= 2
    moved = dataclasses.replace(program, pipelined_instructions=far)
    result = simulate(moved, CORE, profile=TimingProfile.RTL_PIPELINED)
    assert result.cycles == entry["cycles_pipelined"]
    without = dataclasses.replace(program, pipelined_instructions=None)
    assert simulate(without, CORE, profile=TimingProfile.RTL_PIPELINED).cycles is not None


def _program(iterations: int) -> ProgramFile:
    # Two destinations in turn: the pipeline must not meet its own unfinished result.
    loops = {"uop_end": 2, "iter_out": iterations, "iter_in": iterations}
    instructions = stream(
        pack(LOAD, memory_type=UOP, dram_base=0x1000 // 4, y_size=1, x_size=2, x_stride=2),
        pack(LOAD, memory_type=ACC, dram_base=0x2000 // 64, y_size=1, x_size=2, x_stride=2),
        # push_next of compute, pop_prev and push_prev of store, pop_next of FINISH
        pack(ALU, flags=8, alu_opcode=ADD, use_imm=1, imm=1, **loops),
        pack(
            STORE,
            flags=1 | 4,
            memory_type=OUT,
            dram_base=0x3000 // 16,
            y_size=1,
            x_size=1,
            x_stride=1,
        ),
        pack(FINISH, flags=2),
    )
    return ProgramFile(
        path=Path("program.npz"),
        instructions=instructions,
        pipelined_instructions=None,
        segments=(
            Segment(0x1000, np.array([micro_op(0, 0), micro_op(1, 1)], "<u4").view(np.uint8)),
        ),
        regions=None,
        expected=None,
        dram_size=0x4000,
        ignored_arrays=("colour",),
    )


def test_one_program_by_hand() -> None:
    result = simulate(_program(4), CORE, trace=True)
    assert result.error is None
    assert result.dram is not None
    assert (result.dram[0x3000:0x3010] == 16).all()
    assert any("colour" in warning for warning in result.warnings)
    assert result.timing is not None
    assert result.timing.trace is not None
    assert result.timing.trace.start_cycle.size == 5


def test_too_much_work_is_a_fault_and_not_a_hang() -> None:
    result = simulate(_program(4), CORE, micro_op_limit=31)
    assert result.error is not None
    assert result.error.error_class == "work_limit"
    assert result.error.instruction == 2
    assert result.dram is None
    assert simulate(_program(4), CORE, micro_op_limit=32).error is None
