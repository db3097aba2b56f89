"""Random and mutated programs: always a result or a clear error, in bounded work.

Three sources of programs, all seeded: the small conformance vectors with bits flipped, fields
changed and instructions deleted, repeated, swapped, spliced or cut off; instructions with random
fields; random bytes.
"""

from __future__ import annotations

import dataclasses
import resource
from collections import Counter

import numpy as np
import pytest

from compiler_core.units.vta.machine.hardware import TimingProfile
from compiler_core.units.vta.machine.profiles import PROFILES
from compiler_core.units.vta.machine.program_file import ProgramFile, Segment, read_program_file
from compiler_core.units.vta.simulate.functional import prepare
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.tool.simulate import simulate
from compiler_core.units.vta.verify import FindingClass, first_error, verify
from tests.compiler_core.units.vta import reference_functional as reference
from tests.compiler_core.units.vta.reference_functional import Bytes
from tests.compiler_core.units.vta.vectors import CORE, PROGRAMS, VECTORS

SMALL_INSTRUCTIONS = 80
MICRO_OP_LIMIT = 2_000_000
GROWTH_MAX_BYTES = 64 << 20
FINISH_WORD = reference.pack(reference.FINISH)
KNOWN_CLASSES = {member.value for member in FindingClass} | {"work_limit", "too_long"}


@pytest.fixture(scope="module")
def seeds() -> list[ProgramFile]:
    """The small conformance vectors, right and wrong ones."""
    programs = [
        read_program_file(VECTORS / entry["file"])
        for entry in PROGRAMS
        if entry["instructions"] <= SMALL_INSTRUCTIONS
    ]
    assert len(programs) > 30
    return programs


def _change_field(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    row = int(rng.integers(len(instructions)))
    word = int.from_bytes(instructions[row].tobytes(), "little")
    fields = reference.FIELDS.get(word & 7, reference.COMMON)
    high, low = list(fields.values())[int(rng.integers(len(fields)))]
    mask = (1 << (high - low + 1)) - 1
    old = word >> low & mask
    extremes = [0, 1, mask, mask >> 1, old + 1, old - 1, old ^ 1, old * 2]
    extremes.append(int(rng.integers(0, mask + 1)))
    value = extremes[int(rng.integers(len(extremes)))] & mask
    word = word & ~(mask << low) | value << low
    instructions[row] = np.frombuffer(word.to_bytes(16, "little"), np.uint8)
    return instructions


def _flip_bits(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    for _ in range(int(rng.integers(1, 4))):
        bit = int(rng.integers(instructions.size * 8))
        instructions.reshape(-1)[bit // 8] ^= 1 << (bit % 8)
    return instructions


def _delete(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    return np.delete(instructions, rng.integers(len(instructions)), axis=0)


def _repeat(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    source, target = rng.integers(len(instructions), size=2)
    return np.insert(instructions, target, instructions[source], axis=0)


def _swap(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    left, right = rng.integers(len(instructions), size=2)
    instructions[[left, right]] = instructions[[right, left]]
    return instructions


def _swap_neighbours(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    left = int(rng.integers(max(len(instructions) - 1, 1)))
    instructions[left : left + 2] = instructions[left : left + 2][::-1].copy()
    return instructions


def _truncate(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    return instructions[: rng.integers(len(instructions))]


def _multiply(rng: np.random.Generator, instructions: Bytes) -> Bytes:
    return np.tile(instructions, (int(rng.integers(2, 12)), 1))


MUTATIONS = (
    _change_field,
    _change_field,
    _change_field,
    _flip_bits,
    _delete,
    _repeat,
    _swap,
    _swap_neighbours,
    _truncate,
    _multiply,
)


def _mutant(rng: np.random.Generator, seeds: list[ProgramFile]) -> ProgramFile:
    program = seeds[int(rng.integers(len(seeds)))]
    instructions = program.instructions.copy()
    for _ in range(int(rng.integers(1, 4))):
        if len(instructions):
            mutate = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
            instructions = np.ascontiguousarray(mutate(rng, instructions))
    if rng.random() < 0.6:
        instructions = _finish_last(instructions)
    if rng.random() < 0.2:
        # The micro-ops and data: random bytes anywhere in the image.
        segments = tuple(
            dataclasses.replace(segment, data=_corrupt(rng, segment.data))
            for segment in program.segments
        )
        program = dataclasses.replace(program, segments=segments)
    return _with(program, instructions)


def _finish_last(instructions: Bytes) -> Bytes:
    """Keeps one FINISH, at the end, so that the later checks get to see the program."""
    is_finish = (instructions[:, 0] & 7) == reference.FINISH
    finish = instructions[is_finish][:1] if is_finish.any() else reference.stream(FINISH_WORD)
    return np.concatenate([instructions[~is_finish], finish])


def _corrupt(rng: np.random.Generator, data: Bytes) -> Bytes:
    data = data.copy()
    if data.size:
        positions = rng.integers(data.size, size=max(data.size // 16, 1))
        data[positions] = rng.integers(0, 256, positions.size)
    return data


def _with(program: ProgramFile, instructions: Bytes) -> ProgramFile:
    return dataclasses.replace(
        program, instructions=instructions, pipelined_instructions=None, expected=None
    )


def _random_fields(rng: np.random.Generator, seeds: list[ProgramFile]) -> ProgramFile:
    words = []
    for _ in range(int(rng.integers(1, 30))):
        opcode = int(rng.integers(0, 5))
        word = opcode
        for high, low in reference.FIELDS[opcode].values():
            if low:
                bits = int(rng.integers(0, high - low + 2))
                word |= int(rng.integers(0, 1 << bits)) << low
        words.append(word)
    if rng.random() < 0.8:
        words.append(reference.pack(reference.FINISH))
    return _with(seeds[int(rng.integers(len(seeds)))], reference.stream(*words))


def _inside(rng: np.random.Generator, seeds: list[ProgramFile]) -> ProgramFile:
    """Stays inside all memories; without flags and with distinct regions it may even be right."""
    instructions = reference.random_program(
        lambda low, high: int(rng.integers(low, high + 1)), int(rng.integers(0, 8))
    )
    if rng.random() < 0.5:
        instructions[:, 0] &= 0x87
    return dataclasses.replace(
        _with(seeds[0], instructions),
        segments=(Segment(0, reference.random_dram(rng)),),
        dram_size=reference.DRAM_BYTES,
    )


def _random_bytes(rng: np.random.Generator, seeds: list[ProgramFile]) -> ProgramFile:
    instructions = rng.integers(0, 256, (int(rng.integers(0, 40)), 16), np.uint8)
    return _with(seeds[int(rng.integers(len(seeds)))], instructions)


SOURCES = (_mutant,) * 7 + (_random_fields, _inside, _random_bytes)


def _fuzz(seeds: list[ProgramFile], seed: int, count: int) -> Counter[str]:
    """Runs ``count`` programs; returns how often each outcome occurred. One that does not end is
    ended by the time of the test."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    peak_bytes = 0
    for index in range(count):
        program = SOURCES[int(rng.integers(len(SOURCES)))](rng, seeds)
        profile = (None, *TimingProfile)[index % 3]
        result = simulate(program, CORE, profile=profile, micro_op_limit=MICRO_OP_LIMIT)
        if result.error is None:
            assert result.dram is not None
            assert result.dram.size == program.dram_size
            assert result.cycles is not None
            assert result.cycles > 0
            outcomes["success"] += 1
        else:
            assert result.error.error_class in KNOWN_CLASSES
            assert result.error.message
            assert result.dram is None
            outcomes[result.error.error_class] += 1
        if index == count // 4:
            peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak_bytes
    assert growth < GROWTH_MAX_BYTES
    return outcomes


def _assert_outcomes_are_varied(outcomes: Counter[str]) -> None:
    # A fuzzer whose programs all fail at the first check tests that check only.
    assert outcomes["success"] > 0.02 * outcomes.total()
    assert len(outcomes) >= 12
    assert outcomes["too_long"] == 0


def test_a_representative_part(seeds: list[ProgramFile]) -> None:
    _assert_outcomes_are_varied(_fuzz(seeds, seed=0, count=2_000))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 7))
def test_many_programs(seeds: list[ProgramFile], seed: int) -> None:
    _assert_outcomes_are_varied(_fuzz(seeds, seed, count=4_000))


def test_what_the_verifier_accepts_runs_to_its_end(seeds: list[ProgramFile]) -> None:
    """Both simulators agree with the verifier: no fault behind its back, same effect as the plain
    interpreter.
    """
    rng = np.random.default_rng(99)
    accepted = 0
    for _ in range(1_000):
        program = _mutant(rng, seeds)
        dram = program.dram()
        if first_error(verify(program.instructions, CORE.geometry, dram)) is not None:
            continue
        prepared = prepare(program.instructions, CORE.geometry)
        for timing in PROFILES.values():
            assert time_program(program.instructions, timing, CORE.geometry).cycles > 0
        if prepared.micro_ops > 3_000:
            continue
        expected = dram.copy()
        prepared.run(dram)
        reference.interpret(program.instructions, expected)
        np.testing.assert_array_equal(dram, expected)
        accepted += 1
    assert accepted > 30
