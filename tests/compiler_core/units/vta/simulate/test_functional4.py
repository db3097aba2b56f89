"""Cores with weights of 4 bits and 32 output lanes: the functional simulator against the
conformance vectors and the plain interpreter, the verifier and the timing rules on the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.profiles import RTL_PIPELINED_32BIT
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.verify import verify
from compiler_core.units.vta.verify.findings import Severity
from tests.compiler_core.units.vta import reference_functional as reference
from tests.compiler_core.units.vta.reference_functional import INP, LOAD, OUT, STORE, WGT, Shape
from tests.compiler_core.units.vta.vectors4 import (
    GEOMETRIES,
    NEGATIVE4,
    POSITIVE4,
    PROGRAMS4,
    SHAPES,
    VECTORS4,
    geometry_of,
)

OTHERS = [Shape(32, 4), Shape(16, 4), Shape(32, 8)]


def test_all_vectors_are_there() -> None:
    assert len(POSITIVE4) == 34
    assert len(NEGATIVE4) == 2
    assert {entry["config"] for entry in PROGRAMS4} == set(SHAPES)


@pytest.mark.parametrize("entry", POSITIVE4, ids=lambda entry: entry["file"])
def test_vector_gives_exactly_the_expected_dram(entry: dict[str, Any]) -> None:
    program, geometry = read_program_file(VECTORS4 / entry["file"]), GEOMETRIES[entry["config"]]
    dram = program.dram()
    errors = [
        f for f in verify(program.instructions, geometry, dram) if f.severity is Severity.ERROR
    ]
    assert not errors
    execute(program.instructions, geometry, dram)
    np.testing.assert_array_equal(dram, program.expected_dram())


@pytest.mark.parametrize("entry", POSITIVE4, ids=lambda entry: entry["file"])
def test_the_plain_interpreter_agrees_with_the_vectors(entry: dict[str, Any]) -> None:
    if entry["alu_micro_ops"] + entry["gemm_micro_ops"] > 2000:
        entry = min(POSITIVE4, key=lambda e: e["alu_micro_ops"] + e["gemm_micro_ops"])
    program = read_program_file(VECTORS4 / entry["file"])
    dram = program.dram()
    reference.interpret(program.instructions, dram, SHAPES[entry["config"]])
    np.testing.assert_array_equal(dram, program.expected_dram())


@pytest.mark.parametrize("entry", NEGATIVE4, ids=lambda entry: entry["file"])
def test_negative_vectors_are_refused_by_simulator_and_verifier(entry: dict[str, Any]) -> None:
    program, geometry = read_program_file(VECTORS4 / entry["file"]), GEOMETRIES[entry["config"]]
    dram = program.dram()
    before = dram.copy()
    found = {str(f.finding_class.value) for f in verify(program.instructions, geometry, dram)}
    assert entry["expected_error"] in found
    with pytest.raises(ProgramError) as caught:
        execute(program.instructions, geometry, dram)
    assert caught.value.error_class == entry["expected_error"]
    np.testing.assert_array_equal(dram, before)


@pytest.mark.parametrize("shape", OTHERS, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_random_programs_equal_the_plain_interpreter(seed: int, shape: Shape) -> None:
    rng = np.random.default_rng(seed)
    program = reference.random_program(
        lambda low, high: int(rng.integers(low, high + 1)), 24, shape
    )
    _assert_equal_to_reference(program, reference.random_dram(rng), shape)


@settings(max_examples=20)
@given(st.data(), st.integers(0, 3), st.sampled_from(OTHERS))
def test_drawn_programs_equal_the_plain_interpreter(
    data: st.DataObject, seed: int, shape: Shape
) -> None:
    program = reference.random_program(
        lambda low, high: data.draw(st.integers(low, high)),
        data.draw(st.integers(0, 6)),
        shape,
    )
    _assert_equal_to_reference(program, reference.random_dram(np.random.default_rng(seed)), shape)


def _assert_equal_to_reference(
    program: reference.Bytes, dram: reference.Bytes, shape: Shape
) -> None:
    expected = dram.copy()
    reference.interpret(program, expected, shape)
    execute(program, geometry_of(shape), dram)
    np.testing.assert_array_equal(dram, expected)


def _transfer(opcode: int, kind: int, count: int, byte: int, shape: Shape) -> int:
    width = shape.bytes[kind]
    return reference.pack(
        opcode,
        flags=8 if opcode == LOAD else 4,
        memory_type=kind,
        dram_base=byte // width,
        y_size=1,
        x_size=count,
        x_stride=count,
    )


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_a_transfer_costs_the_beats_of_its_elements(shape: Shape) -> None:
    geometry = geometry_of(shape)
    timing = replace(RTL_PIPELINED_32BIT, element_bytes=geometry.element_bytes)
    for opcode, kind, per_element in (
        (LOAD, WGT, shape.bytes[WGT] // 8),
        (LOAD, INP, 2),
        (STORE, OUT, shape.lanes // 8 + 1),
    ):
        end = reference.pack(reference.FINISH, flags=1 if opcode == LOAD else 2)
        cost = {}
        for count in (1, 2):
            program = reference.stream(_transfer(opcode, kind, count, 0x3000, shape), end)
            run = time_program(program, timing, geometry, trace=True)
            assert run.trace is not None
            cost[count] = int(run.trace.end_cycle[0] - run.trace.start_cycle[0])
        assert cost[2] - cost[1] == per_element


def test_the_bundled_target_is_the_machine_of_the_vectors() -> None:
    assert load_target("vta-int4").npu.geometry == GEOMETRIES["vta-1x16x32-w4"]
