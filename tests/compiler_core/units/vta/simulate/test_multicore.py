"""Several cores on one port: against the plain reference, and against one core."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import ElementBytes, VtaCore, VtaTiming
from compiler_core.units.vta.machine.isa import INSTRUCTION_DTYPE, MemoryType, Opcode, decode
from compiler_core.units.vta.machine.profiles import RTL2020, RTL_PIPELINED_32BIT
from compiler_core.units.vta.simulate.multicore import (
    MulticoreResult,
    time_decoded_programs,
    time_programs,
)
from compiler_core.units.vta.simulate.timing import (
    TimingDeadlock,
    TimingLimitError,
    TimingResult,
    time_decoded,
    time_program,
)
from tests.compiler_core.units.vta.random_programs import random_program, random_timing
from tests.compiler_core.units.vta.reference_multicore import reference_programs
from tests.compiler_core.units.vta.reference_timing import StuckError
from tests.compiler_core.units.vta.vectors import PROGRAMS, VECTORS

VTA = load_target("vta").npu
TIMING, GEOMETRY, ENERGY = VTA.timing, VTA.geometry, VTA.energy
Program = npt.NDArray[np.void]


def stream(program: dict[str, str], array: str) -> npt.NDArray[np.uint8]:
    with np.load(VECTORS / program["file"], allow_pickle=False) as file:
        instructions: npt.NDArray[np.uint8] = file[array if array in file else "insn"]
    return instructions


def assert_equal(one: TimingResult, other: TimingResult) -> None:
    assert replace(one, trace=None) == replace(other, trace=None)
    assert one.trace is not None
    assert other.trace is not None
    for name, values in vars(one.trace).items():
        assert np.array_equal(values, getattr(other.trace, name)), name


def assert_books_balance(result: MulticoreResult) -> None:
    assert result.cycles == max(core.cycles for core in result.cores)
    for core in result.cores:
        for activity in (core.fetch, core.load, core.compute, core.store):
            assert min(vars(activity).values()) >= 0
            assert activity.total_cycles == core.cycles
    assert 0 <= result.port.utilization <= 1


@pytest.mark.parametrize("vector", PROGRAMS, ids=lambda p: p["name"])
@pytest.mark.parametrize("profile", ["rtl2020", "pipelined"])
def test_one_core_equals_the_single_core_simulator(vector: dict[str, str], profile: str) -> None:
    timing = {"rtl2020": RTL2020, "pipelined": RTL_PIPELINED_32BIT}[profile]
    instructions = stream(vector, "insn_pipelined" if profile == "pipelined" else "insn")
    try:
        expected = time_program(instructions, timing, GEOMETRY, ENERGY, trace=True)
    except ProgramError as error:
        fault = error
    else:
        result = time_programs([instructions], timing, GEOMETRY, ENERGY, trace=True)
        assert_equal(result.cores[0], expected)
        assert result.cycles == expected.cycles
        assert_books_balance(result)
        return
    with pytest.raises(type(fault)) as caught:
        time_programs([instructions], timing, GEOMETRY)
    assert caught.value.message == fault.message
    assert caught.value.instruction == fault.instruction


# Against the plain reference.


def assert_equals_reference(programs: list[Program], timing: VtaTiming) -> None:
    expected = reference_programs(programs, timing)
    result = time_decoded_programs(programs, timing, GEOMETRY, trace=True)
    assert [core.cycles for core in result.cores] == expected.cycles
    for core, starts, ends in zip(result.cores, expected.starts, expected.ends, strict=True):
        assert core.trace is not None
        assert core.trace.start_cycle.tolist() == starts
        assert core.trace.end_cycle.tolist() == ends
    assert_books_balance(result)


@pytest.mark.parametrize("block", range(6))
def test_random_program_sets_equal_the_reference(block: int) -> None:
    for seed in range(6 * block, 6 * block + 6):
        rng = np.random.default_rng(seed)
        programs = [random_program(rng) for _ in range(int(rng.integers(1, 6)))]
        assert_equals_reference(programs, random_timing(rng))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_program_sets_equal_the_reference(block: int) -> None:
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        rng = np.random.default_rng(seed)
        programs = [random_program(rng) for _ in range(int(rng.integers(1, 6)))]
        assert_equals_reference(programs, random_timing(rng))


@pytest.mark.parametrize("seed", range(3000, 3012))
def test_staggered_launches_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    programs, timing = [random_program(rng) for _ in range(3)], random_timing(rng)
    launches = rng.integers(0, 600, 3).tolist()
    expected = reference_programs(programs, timing, launches=launches)
    result = time_decoded_programs(programs, timing, GEOMETRY, launch_cycles=launches, trace=True)
    assert result.cycles == max(expected.cycles)
    for core, launch, starts, ends in zip(
        result.cores, launches, expected.starts, expected.ends, strict=True
    ):
        assert core.trace is not None
        assert core.trace.start_cycle.tolist() == [t - launch if t >= 0 else -1 for t in starts]
        assert core.trace.end_cycle.tolist() == [t - launch if t >= 0 else -1 for t in ends]
        for activity in (core.fetch, core.load, core.compute, core.store):
            assert min(vars(activity).values()) >= 0
            assert activity.total_cycles == core.cycles


WIDTHS = [
    ElementBytes(4, 16, 256, 64, 16),
    ElementBytes(4, 16, 256, 128, 32),
    ElementBytes(4, 16, 128, 64, 16),
    ElementBytes(4, 64, 1024, 64, 64),
]


def core_of(timing: VtaTiming) -> VtaCore:
    return VtaCore(GEOMETRY, timing, ENERGY, 1e8)


@pytest.mark.parametrize("seed", range(5000, 5016))
def test_cores_of_different_widths_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    programs, timing = [random_program(rng) for _ in range(3)], random_timing(rng)
    own = [replace(timing, element_bytes=WIDTHS[int(rng.integers(4))]) for _ in programs]
    expected = reference_programs(programs, timing, timings=own)
    result = time_decoded_programs(
        programs, timing, GEOMETRY, trace=True, machines=[core_of(item) for item in own]
    )
    assert result.cycles == max(expected.cycles)
    for core, starts, ends in zip(result.cores, expected.starts, expected.ends, strict=True):
        assert core.trace is not None
        assert core.trace.start_cycle.tolist() == starts
        assert core.trace.end_cycle.tolist() == ends


def test_cores_of_one_port_share_its_rules() -> None:
    programs = [random_program(np.random.default_rng(0)) for _ in range(2)]
    slower = replace(TIMING, memory_latency_cycles=40)
    with pytest.raises(InputError, match="core 1 has other timing rules"):
        time_decoded_programs(
            programs, TIMING, GEOMETRY, machines=[core_of(TIMING), core_of(slower)]
        )
    with pytest.raises(InputError, match="1 machines for 2 programs"):
        time_decoded_programs(programs, TIMING, GEOMETRY, machines=[core_of(TIMING)])


def test_cores_that_run_one_after_another_do_not_feel_each_other() -> None:
    vectors = {program["name"]: program for program in PROGRAMS}
    for timing in (TIMING, RTL2020):
        streams = [stream(vectors[name], "insn") for name in ("pair_3", "random_1")]
        alone = [time_program(s, timing, GEOMETRY, ENERGY, trace=True) for s in streams]
        launches = [0, alone[0].cycles + 5]
        result = time_programs(
            streams, timing, GEOMETRY, ENERGY, launch_cycles=launches, trace=True
        )
        for core, expected in zip(result.cores, alone, strict=True):
            assert_equal(core, expected)
        assert result.launch_cycles == tuple(launches)
        assert result.cycles == launches[1] + alone[1].cycles


@pytest.mark.parametrize("target", ["vta-x2", "vta-x4", "vta-x4-128", "vta-x4-256"])
def test_vectors_side_by_side_equal_the_reference(target: str) -> None:
    shipped = load_target(target)
    names = ("pair_3", "random_1", "store2d", "random_8")[: shipped.npu_cores]
    vectors = {program["name"]: program for program in PROGRAMS}
    programs = [decode(stream(vectors[name], "insn")) for name in names]
    assert_equals_reference(programs, shipped.npu.timing)


# Single rules.

FINISH: dict[str, int] = {"opcode": Opcode.FINISH}
LOAD = {"opcode": Opcode.LOAD, "memory_type": MemoryType.INP, "dram_base": 256, "y_size": 1}
STORE = {"opcode": Opcode.STORE, "memory_type": MemoryType.OUT, "dram_base": 256, "y_size": 1}


def program(*rows: dict[str, int]) -> Program:
    decoded = np.zeros(len(rows), INSTRUCTION_DTYPE)
    for target, row in zip(decoded, rows, strict=True):
        for name, value in row.items():
            target[name] = value
    return decoded


READING = program(LOAD | {"x_size": 1024, "push_next": 1}, FINISH | {"pop_prev": 1})
WRITING = program(STORE | {"x_size": 1024, "push_prev": 1}, FINISH | {"pop_next": 1})


@pytest.mark.parametrize("cores", [2, 4])
def test_reading_cores_share_the_read_channel_evenly(cores: int) -> None:
    alone = time_decoded(READING, TIMING, GEOMETRY)
    result = time_decoded_programs([READING] * cores, TIMING, GEOMETRY)
    load = 8 * (256 + 1)  # bursts, one idle cycle behind each
    assert abs(result.cycles - alone.cycles - (cores - 1) * load) <= 5 * cores
    assert result.port.read_cycles == cores * (load + 5)  # and a fetch of four beats
    assert result.port.utilization > 0.98
    # Whoever comes first fills the list of 16; from then on the cores take turns.
    assert min(core.cycles for core in result.cores) > result.cycles - 16 * 257


@pytest.mark.parametrize("cores", [2, 4])
def test_writing_cores_share_the_write_channel(cores: int) -> None:
    alone = time_decoded(WRITING, TIMING, GEOMETRY)
    result = time_decoded_programs([WRITING] * cores, TIMING, GEOMETRY)
    burst = 3 + 128 * 3
    assert result.port.write_cycles == cores * 8 * burst
    assert result.cycles >= alone.cycles + (cores - 1) * 8 * burst
    assert result.cycles <= alone.cycles + (cores - 1) * (8 * burst + 5)
    assert result.cores[-1].store.port_stall_cycles >= (cores - 1) * 7 * burst
    assert result.cores[-1].store.busy_cycles == alone.store.busy_cycles


def test_reads_and_writes_of_two_cores_do_not_wait_for_each_other() -> None:
    pair = time_decoded_programs([READING, WRITING], TIMING, GEOMETRY)
    for core, alone in zip(pair.cores, (READING, WRITING), strict=True):
        # But for the fetches.
        assert core.cycles - time_decoded(alone, TIMING, GEOMETRY).cycles in range(6)


def test_sequential_port_serves_reads_and_writes_of_all_cores_in_turn() -> None:
    alone = [time_decoded(p, RTL2020, GEOMETRY).cycles for p in (READING, WRITING)]
    pair = time_decoded_programs([READING, WRITING], RTL2020, GEOMETRY)
    assert pair.cycles > sum(alone) - 50
    assert pair.port.channels == 1
    assert pair.port.utilization > 0.98


def test_a_core_without_memory_traffic_costs_the_others_a_fetch() -> None:
    gemm = {"opcode": Opcode.GEMM, "uop_end": 1, "iter_out": 100, "iter_in": 100}
    busy = program(gemm, FINISH)
    result = time_decoded_programs([READING, busy], TIMING, GEOMETRY)
    # Its last burst is accepted a cycle later.
    assert result.cores[0].cycles == time_decoded(READING, TIMING, GEOMETRY).cycles + 1
    assert result.cores[1].cycles == time_decoded(busy, TIMING, GEOMETRY).cycles + 5
    assert result.cycles == result.cores[1].cycles


def test_wider_port_relieves_the_cores() -> None:
    cycles = [
        time_decoded_programs([READING] * 4, load_target(name).npu.timing, GEOMETRY).cycles
        for name in ("vta-x4", "vta-x4-128", "vta-x4-256")
    ]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > 1.9 * cycles[1] > 3.5 * cycles[2]


def test_energy_is_the_sum_of_the_cores() -> None:
    alone = time_decoded(READING, TIMING, GEOMETRY, ENERGY).energy_pj
    assert alone is not None
    result = time_decoded_programs([READING] * 3, TIMING, GEOMETRY, ENERGY)
    assert result.energy_pj == pytest.approx(3 * alone)
    assert time_decoded_programs([READING], TIMING, GEOMETRY).energy_pj is None


# Programs without a cycle count.


def test_deadlock_names_the_core() -> None:
    stuck = program({"opcode": Opcode.GEMM, "pop_prev": 1}, FINISH)
    with pytest.raises(TimingDeadlock, match=r"core 1: .* compute at instruction 0 \(GEMM\)"):
        time_decoded_programs([READING, stuck], TIMING, GEOMETRY)


def test_reference_finds_the_same_deadlocks() -> None:
    stuck = 0
    for seed in range(14):
        rng = np.random.default_rng(seed)
        programs, timing = [random_program(rng) for _ in range(3)], random_timing(rng)
        programs[1][int(rng.integers(len(programs[1])))]["pop_next"] = 1
        cycles = 0
        with suppress(TimingDeadlock):
            cycles = time_decoded_programs(programs, timing, GEOMETRY).cycles
        if cycles:
            assert max(reference_programs(programs, timing).cycles) == cycles
            continue
        stuck += 1
        with pytest.raises(StuckError):
            reference_programs(programs, timing, 5_000)
    assert stuck > 3


def test_bad_programs_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        time_programs([], TIMING, GEOMETRY)
    with pytest.raises(InputError, match="core 1: instructions are uint8"):
        time_programs([np.zeros((1, 16), np.uint8), np.zeros((1, 15), np.uint8)], TIMING, GEOMETRY)
    for launches in ([0], [0, -1], [0, 1 << 62]):
        with pytest.raises(InputError, match="of 2 programs, expected one for each"):
            time_decoded_programs([READING] * 2, TIMING, GEOMETRY, launch_cycles=launches)
    with pytest.raises(ProgramError, match="core 1: instruction 0: opcode 6"):
        time_decoded_programs([READING, program({"opcode": 6})], TIMING, GEOMETRY)
    with pytest.raises(TimingLimitError, match="allowed are 5 events"):
        time_decoded_programs([READING] * 2, TIMING, GEOMETRY, step_limit=5)
