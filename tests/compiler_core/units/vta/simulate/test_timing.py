"""The timing simulator against the cycles and traffic that the RTLs took, and its own books."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import VtaEnergy, VtaTiming
from compiler_core.units.vta.machine.isa import (
    INSTRUCTION_DTYPE,
    MemoryType,
    Opcode,
    decode,
    encode,
)
from compiler_core.units.vta.machine.profiles import RTL2020, RTL_PIPELINED_32BIT
from compiler_core.units.vta.simulate.timing import (
    Actor,
    TimingDeadlock,
    TimingLimitError,
    TimingResult,
    WaitCause,
    time_decoded,
    time_program,
)
from tests.compiler_core.units.vta import vectors
from tests.compiler_core.units.vta.random_programs import random_program, random_timing
from tests.compiler_core.units.vta.reference_timing import StuckError, reference_timing

PROGRAMS = {program["name"]: program for program in vectors.PROGRAMS}
POSITIVE = [program["name"] for program in vectors.POSITIVE]
NEGATIVE = [program["name"] for program in vectors.NEGATIVE]

INT8_PIPELINED = load_target("vta").npu.timing
GEOMETRY = load_target("vta").npu.geometry
ENERGY = load_target("vta").npu.energy


def stream(name: str, array: str = "insn") -> npt.NDArray[np.uint8]:
    with np.load(vectors.VECTORS / PROGRAMS[name]["file"], allow_pickle=False) as file:
        instructions: npt.NDArray[np.uint8] = file[array]
    return instructions


def assert_books_balance(result: TimingResult) -> None:
    for activity in (result.fetch, result.load, result.compute, result.store):
        parts = vars(activity).values()
        assert min(parts) >= 0
        assert sum(parts) == activity.total_cycles == result.cycles


PROFILES = {"rtl2020": (RTL2020, "insn"), "pipelined": (RTL_PIPELINED_32BIT, "insn_pipelined")}


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("profile", PROFILES)
def test_cycles_and_traffic_equal_the_rtl(name: str, profile: str) -> None:
    expected = PROGRAMS[name]
    timing, array = PROFILES[profile]
    result = time_program(stream(name, array), timing, GEOMETRY)
    traffic = result.traffic
    assert result.cycles == expected[f"cycles_{profile}"]
    assert expected[f"{profile}_traffic"] == {
        "rd_beats": traffic.read_beats,
        "rd_reqs": traffic.read_bursts,
        "wr_beats": traffic.write_beats,
        "wr_reqs": traffic.write_bursts,
    }
    assert_books_balance(result)


@pytest.mark.parametrize("name", POSITIVE)
def test_work_and_bytes_equal_the_program(name: str) -> None:
    expected = PROGRAMS[name]
    result = time_program(stream(name), RTL2020, GEOMETRY)
    assert result.micro_ops.gemm == expected["gemm_micro_ops"]
    assert result.micro_ops.gemm_reset == expected["gemm_reset_micro_ops"]
    assert result.micro_ops.alu == expected["alu_micro_ops"]
    traffic = result.traffic
    assert expected["bytes"] == {
        "uop_load_nbytes": traffic.uop.data_bytes,
        "wgt_load_nbytes": traffic.wgt.data_bytes,
        "inp_load_nbytes": traffic.inp.data_bytes,
        "acc_load_nbytes": traffic.acc.data_bytes,
        "out_store_nbytes": traffic.out.data_bytes,
    }
    assert traffic.fetch.data_bytes == 16 * expected["instructions"]


def test_all_positive_vectors_are_here() -> None:
    assert len(POSITIVE) == 72
    assert len(NEGATIVE) == 13


# Against the plain reference, on programs and machines that no vector covers.


def assert_equals_reference(decoded: npt.NDArray[np.void], timing: VtaTiming) -> None:
    expected = reference_timing(decoded, timing)
    result = time_decoded(decoded, timing, GEOMETRY, trace=True)
    assert result.cycles == expected.cycles
    assert result.trace is not None
    assert result.trace.start_cycle.tolist() == expected.starts
    assert result.trace.end_cycle.tolist() == expected.ends
    assert_books_balance(result)
    if min(expected.ends) >= 0:
        for name in ("uop", "wgt", "inp", "acc", "out", "fetch"):
            traffic = getattr(result.traffic, name)
            assert traffic.bursts == expected.bursts.get(name, 0)
            assert traffic.beats == expected.beats.get(name, 0)


@pytest.mark.parametrize("block", range(8))
def test_random_programs_on_random_machines_equal_the_reference(block: int) -> None:
    for seed in range(25 * block, 25 * block + 25):
        rng = np.random.default_rng(seed)
        assert_equals_reference(random_program(rng), random_timing(rng))


@pytest.mark.slow
def test_many_random_programs_equal_the_reference() -> None:
    for seed in range(1000, 1600):
        rng = np.random.default_rng(seed)
        assert_equals_reference(random_program(rng), random_timing(rng))


@pytest.mark.parametrize("latency", [0, 4, 40, 100])
@pytest.mark.parametrize("name", ["random_1", "pair_3", "load2d_pad_stride", "queue_full"])
def test_vectors_at_other_latencies_equal_the_reference(name: str, latency: int) -> None:
    timing = replace(RTL_PIPELINED_32BIT, memory_latency_cycles=latency)
    assert_equals_reference(decode(stream(name, "insn_pipelined")), timing)


def test_reference_is_held_by_the_rtl_too() -> None:
    for name in ("token_nops", "load_inp_1", "load2d_pad_stride", "store2d", "random_8", "pair_4"):
        for profile, (timing, array) in PROFILES.items():
            cycles = reference_timing(decode(stream(name, array)), timing).cycles
            assert cycles == PROGRAMS[name][f"cycles_{profile}"]


# Single rules and costs.


def program(*rows: dict[str, int]) -> npt.NDArray[np.void]:
    decoded = np.zeros(len(rows), INSTRUCTION_DTYPE)
    for target, row in zip(decoded, rows, strict=True):
        for name, value in row.items():
            target[name] = value
    return decoded


FINISH = {"opcode": Opcode.FINISH}
GEMM = {"opcode": Opcode.GEMM, "uop_end": 1, "iter_out": 1, "iter_in": 1}


def test_loops_of_any_size_take_no_time_to_simulate() -> None:
    loops = {"uop_end": (1 << 14) - 1, "iter_out": (1 << 14) - 1, "iter_in": (1 << 14) - 1}
    result = time_decoded(program(GEMM | loops, FINISH), INT8_PIPELINED, GEOMETRY)
    assert result.micro_ops.gemm == ((1 << 14) - 1) ** 3
    assert result.cycles == result.micro_ops.gemm + 7 + 2 + 26 - 1
    assert result.mac_utilization == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("target", "alu_cycles", "store_cycles"),
    [("vta", 10 + 7, 4 + 3 * 8), ("vta-pynq", 20 + 7, 4 + 3 * 8), ("vta-ultra96", 17, 4 + 2 * 8)],
)
def test_target_costs(target: str, alu_cycles: int, store_cycles: int) -> None:
    alu = {"opcode": Opcode.ALU, "use_imm": 1, "uop_end": 10, "iter_out": 1, "iter_in": 1}
    store = {"opcode": Opcode.STORE, "memory_type": MemoryType.OUT, "x_size": 8, "y_size": 1}
    store |= {"dram_base": 256, "push_prev": 1}
    decoded = program(alu, store, FINISH | {"pop_next": 1})
    result = time_decoded(decoded, load_target(target).npu.timing, GEOMETRY, trace=True)
    assert result.trace is not None
    duration = (result.trace.end_cycle - result.trace.start_cycle).tolist()
    assert duration == [alu_cycles, store_cycles, 2]


@pytest.mark.parametrize(
    ("target", "beats"),
    [("vta", {"inp": 2, "wgt": 32, "acc": 8}), ("vta-zcu102", {"inp": 1, "wgt": 16, "acc": 4})],
)
@pytest.mark.parametrize("memory", ["inp", "wgt", "acc"])
def test_loads_cost_latency_and_beats(target: str, beats: dict[str, int], memory: str) -> None:
    timing = load_target(target).npu.timing
    load = {"opcode": Opcode.LOAD, "memory_type": MemoryType[memory.upper()], "dram_base": 256}
    decoded = program(load | {"x_size": 4, "y_size": 3, "x_stride": 16}, FINISH)
    if memory != "acc":
        decoded[0]["push_next"] = decoded[1]["pop_prev"] = 1
    result = time_decoded(decoded, timing, GEOMETRY, trace=True)
    assert result.trace is not None
    expected = 7 + timing.memory_latency_cycles + 12 * beats[memory] + 2
    assert result.trace.end_cycle[0] - result.trace.start_cycle[0] == expected
    assert getattr(result.traffic, memory).bursts == 3


def test_bursts_are_cut_at_the_boundary_of_the_port() -> None:
    load = {"opcode": Opcode.LOAD, "memory_type": MemoryType.ACC, "dram_base": 32 + 127}
    decoded = program(load | {"x_size": 66, "y_size": 1}, FINISH)
    for target, bursts in (("vta", 4), ("vta-ultra96", 2)):
        result = time_decoded(decoded, load_target(target).npu.timing, GEOMETRY)
        assert result.traffic.acc.bursts == bursts


def test_trace_says_what_an_instruction_waited_for() -> None:
    load = {"opcode": Opcode.LOAD, "memory_type": MemoryType.INP, "dram_base": 256, "x_size": 8}
    decoded = program(load | {"y_size": 1, "push_next": 1}, GEMM | {"pop_prev": 1}, GEMM, FINISH)
    trace = time_decoded(decoded, INT8_PIPELINED, GEOMETRY, trace=True).trace
    assert trace is not None
    assert trace.actor.tolist() == [Actor.LOAD, Actor.COMPUTE, Actor.COMPUTE, Actor.COMPUTE]
    assert trace.wait_cause.tolist() == [
        WaitCause.FETCH,
        WaitCause.TOKEN,
        WaitCause.NONE,
        WaitCause.NONE,
    ]
    assert trace.token_wait_cycles[1] == trace.end_cycle[0] - trace.handed_out_cycle[1] - 1
    assert time_decoded(decoded, INT8_PIPELINED, GEOMETRY).trace is None


def test_a_full_queue_stalls_fetch() -> None:
    decoded = program(*[GEMM | {"iter_out": 50}] * 8, FINISH)
    wide = time_decoded(decoded, INT8_PIPELINED, GEOMETRY)
    narrow = time_decoded(decoded, replace(INT8_PIPELINED, queue_depth=2), GEOMETRY)
    assert wide.fetch.queue_stall_cycles == 0
    assert narrow.fetch.queue_stall_cycles > 6 * 50


def test_port_contention_is_charged_to_the_module_that_waits() -> None:
    inp = {"opcode": Opcode.LOAD, "memory_type": MemoryType.INP, "dram_base": 256, "y_size": 1}
    acc = inp | {"memory_type": MemoryType.ACC, "x_size": 64}
    decoded = program(inp | {"x_size": 512}, acc, FINISH)
    alone = time_decoded(decoded[1:], RTL2020, GEOMETRY)
    both = time_decoded(decoded, RTL2020, GEOMETRY)
    assert alone.compute.port_stall_cycles == 0
    # Priority over acc: the accumulators wait for all four bursts of the inputs.
    assert both.compute.port_stall_cycles > 512 * 2
    assert both.compute.busy_cycles == alone.compute.busy_cycles


def test_energy_counts_every_event() -> None:
    load = {"opcode": Opcode.LOAD, "dram_base": 256, "y_size": 1, "x_size": 2}
    decoded = program(
        load | {"memory_type": MemoryType.UOP},
        load | {"memory_type": MemoryType.ACC, "x_pad_0": 1},
        GEMM | {"iter_in": 3},
        {"opcode": Opcode.ALU, "uop_end": 1, "iter_out": 1, "iter_in": 5},
        FINISH,
    )
    result = time_decoded(decoded, INT8_PIPELINED, GEOMETRY, VtaEnergy(1.0, 1.0, 1.0, 1.0, 1.0))
    energy = result.energy
    assert energy is not None
    assert energy.multiply_pj == 3 * 256
    assert energy.add_pj == 3 * 256 + 5 * 16
    assert energy.small_sram_pj == 1 + (3 * (1 + 2 + 2)) + 5 * (1 + 2)
    assert energy.large_sram_pj == 3 * 8 + 3 * (32 + 16) + 5 * 24
    assert energy.dram_pj == 1 + 16 + 5 * 2
    assert result.energy_pj == energy.total_pj
    weighted = time_decoded(decoded, INT8_PIPELINED, GEOMETRY, ENERGY).energy
    assert weighted is not None
    assert weighted.dram_pj == pytest.approx(energy.dram_pj * ENERGY.dram_64bit_pj)
    assert time_decoded(decoded, INT8_PIPELINED, GEOMETRY).energy_pj is None


# Programs without a cycle count.


def test_deadlock_names_who_waits() -> None:
    with pytest.raises(TimingDeadlock, match=r"compute at instruction 0 \(GEMM\)") as caught:
        time_program(encode(program(GEMM | {"pop_prev": 1}, FINISH)), RTL2020, GEOMETRY)
    assert caught.value.error_class == "deadlock"
    assert caught.value.instruction == 0


@pytest.mark.parametrize("instructions", [program(), program(GEMM)])
def test_missing_finish_ends_in_an_error(instructions: npt.NDArray[np.void]) -> None:
    with pytest.raises(TimingDeadlock, match="none is FINISH") as caught:
        time_decoded(instructions, INT8_PIPELINED, GEOMETRY)
    assert caught.value.error_class == "missing_finish"


@pytest.mark.parametrize("timing", [RTL2020, RTL_PIPELINED_32BIT])
@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
def test_too_long_programs_end_in_an_error(timing: VtaTiming, opcode: Opcode) -> None:
    memory = MemoryType.OUT if opcode == Opcode.STORE else MemoryType.WGT
    most = (1 << 16) - 1
    row = {"opcode": opcode, "memory_type": memory, "x_size": most, "y_size": most}
    finish = FINISH | ({"pop_next": 1} if opcode == Opcode.STORE else {"pop_prev": 1})
    row["push_prev" if opcode == Opcode.STORE else "push_next"] = 1
    with pytest.raises(TimingLimitError, match="allowed are 5000 events"):
        time_decoded(program(row, finish), timing, GEOMETRY, step_limit=5000)


@pytest.mark.parametrize(
    ("row", "error_class"),
    [
        ({"opcode": 6}, "unknown_opcode"),
        ({"opcode": Opcode.LOAD, "memory_type": MemoryType.OUT}, "unknown_memory_type"),
        ({"opcode": Opcode.STORE, "memory_type": MemoryType.INP}, "unknown_memory_type"),
    ],
)
def test_instructions_that_no_module_takes(row: dict[str, int], error_class: str) -> None:
    with pytest.raises(ProgramError, match="instruction 1: ") as caught:
        time_decoded(program(GEMM, row, FINISH), INT8_PIPELINED, GEOMETRY)
    assert caught.value.error_class == error_class


@pytest.mark.parametrize("shape", [(4,), (2, 15)])
def test_what_is_not_a_stream_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected uint8"):
        time_program(np.zeros(shape, np.uint8), RTL2020, GEOMETRY)


@pytest.mark.parametrize("name", NEGATIVE)
def test_negative_programs_end(name: str) -> None:
    try:
        result = time_program(stream(name), RTL2020, GEOMETRY)
    except ProgramError as error:
        assert error.message  # noqa: PT017 - some have a cycle count, some have none
    else:
        assert_books_balance(result)


@settings(max_examples=300)
@given(st.lists(st.binary(min_size=16, max_size=16), max_size=12), st.booleans(), st.booleans())
def test_any_bytes_end_in_a_result_or_an_error(
    words: list[bytes], pipelined: bool, known_opcodes: bool
) -> None:
    instructions = np.frombuffer(b"".join(words), np.uint8).reshape(-1, 16).copy()
    if known_opcodes and len(instructions):
        instructions[:, 0] &= 0xFB
        instructions[-1, 0] = Opcode.FINISH
    timing = RTL_PIPELINED_32BIT if pipelined else RTL2020
    try:
        result = time_program(instructions, timing, GEOMETRY, ENERGY, step_limit=100_000)
    except ProgramError:
        return
    assert_books_balance(result)
    assert result.energy_pj is not None
    assert result.energy_pj >= 0


def test_reference_finds_the_same_deadlocks() -> None:
    limit = 10_000
    stuck = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        decoded, timing = random_program(rng), random_timing(rng)
        decoded[int(rng.integers(len(decoded)))]["pop_next"] = 1
        try:
            cycles = time_decoded(decoded, timing, GEOMETRY).cycles
        except TimingDeadlock:
            stuck += 1
            cycles = limit + 1
        if cycles <= limit:
            assert reference_timing(decoded, timing, limit).cycles == cycles
        else:
            with pytest.raises(StuckError):
                reference_timing(decoded, timing, limit)
    assert stuck > 10


def test_import_does_not_load_numba() -> None:
    code = "import sys, compiler_core.units.vta.simulate.timing; print('numba' in sys.modules)"
    root = Path(__file__).resolve().parents[5]
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert output.stdout.strip() == "False"
