"""The event simulation: against a plain reference that steps through time, and by hand."""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.partition.modules import lower_bound_ps
from compiler_core.partition.programs import ProgramCosts
from compiler_core.system.jobs import (
    ALL_CORES,
    ANY_CORE,
    NOWHERE,
    ON_HOST,
    ONE_CORE,
    Job,
    JobKind,
    Machinery,
    ranks,
)
from compiler_core.system.timeline import Timeline, simulate
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.simulate.multicore import time_programs
from tests.compiler_core.system.plain_timeline import reference_ends

TWO, THREE = Machinery.alike(2), Machinery.alike(3)


def cpu(run: int, *after: int, memories: int = 1) -> Job:
    return Job(0, JobKind.OPERATOR, ON_HOST, run, 0, after, memories=memories)


def npu(
    run: int,
    launch: int,
    *after: int,
    core: int = ANY_CORE,
    reads: int = 0,
    unit: int = 0,
    memories: int = 1,
) -> Job:
    return Job(0, JobKind.PROGRAM, unit, run, launch, after, core, reads, memories=memories)


def join(*after: int) -> Job:
    return Job(0, JobKind.JOIN, NOWHERE, 0, 0, after, memories=0)


@st.composite
def systems(draw: st.DrawFn) -> Machinery:
    """Up to three units in two memories, some of which work there alone."""
    cores = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    memory = tuple(draw(st.integers(0, 1)) for _ in cores)
    exclusive = tuple(draw(st.booleans()) for _ in cores)
    return Machinery(cores, memory, exclusive, draw(st.integers(0, 1)))


@st.composite
def job_lists(draw: st.DrawFn) -> tuple[list[Job], Machinery]:
    machinery = draw(st.one_of(st.integers(1, 3).map(Machinery.alike), systems()))
    jobs: list[Job] = []
    for index in range(draw(st.integers(1, 12))):
        after = tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3)))) if index else ()
        kind = draw(st.sampled_from(["cpu", "npu", "join"]))
        # At least 1: jobs that end in the same picosecond as they start have no order to compare.
        run = draw(st.integers(1, 9))
        if kind == "cpu":
            used = 1 << machinery.host_memory | draw(st.integers(0, 3))
            jobs.append(cpu(run, *after, memories=used))
        elif kind == "npu":
            unit = draw(st.integers(0, len(machinery.cores) - 1))
            core = draw(st.sampled_from([ANY_CORE, ALL_CORES, *range(machinery.cores[unit])]))
            launch, memories = draw(st.integers(1, 4)), 1 << machinery.memory[unit]
            jobs.append(npu(run, launch, *after, core=core, unit=unit, memories=memories))
        else:
            jobs.append(join(*after))
    return jobs, machinery


@given(job_lists())
@settings(max_examples=500)
def test_ends_are_those_of_the_reference(case: tuple[list[Job], Machinery]) -> None:
    jobs, machinery = case
    found = simulate(jobs, ranks(jobs), machinery)
    assert list(found.end_ps) == reference_ends(jobs, ranks(jobs), machinery)


@given(job_lists())
@settings(max_examples=300)
def test_timelines_keep_the_rules(case: tuple[list[Job], Machinery]) -> None:
    jobs, machinery = case
    found = simulate(jobs, ranks(jobs), machinery)
    for index, job in enumerate(jobs):
        assert all(found.end_ps[before] <= found.start_ps[index] for before in job.after)
        assert found.end_ps[index] - found.start_ps[index] >= job.run_ps + job.overhead_ps
        for other in range(index):
            if is_apart(job, jobs[other], machinery):
                assert (
                    found.end_ps[other] <= found.start_ps[index]
                    or found.end_ps[index] <= found.start_ps[other]
                )
    for track in range(1 + sum(machinery.cores)):
        spans = sorted((s.start_ps, s.end_ps) for s in found.spans if s.track == track)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    on_cpu = sum(s.end_ps - s.start_ps for s in found.spans if s.track == 0)
    assert on_cpu == sum(j.run_ps if j.unit == ON_HOST else j.overhead_ps for j in jobs)
    assert found.latency_ps == max(found.end_ps)
    assert lower_bound_ps(jobs, machinery) <= found.latency_ps


def is_apart(one: Job, other: Job, machinery: Machinery) -> bool:
    """Whether two jobs of different units never run at the same time."""
    alone = any(j.unit >= 0 and machinery.exclusive[j.unit] for j in (one, other))
    return alone and one.unit != other.unit and bool(one.memories & other.memories)


@given(job_lists())
@settings(max_examples=300)
def test_the_critical_path_leads_from_start_to_end(case: tuple[list[Job], Machinery]) -> None:
    jobs, machinery = case
    found = simulate(jobs, ranks(jobs), machinery)
    path = found.critical_path()
    assert found.start_ps[path[0]] == 0
    assert found.end_ps[path[-1]] == found.latency_ps
    for before, after in pairwise(path):
        assert found.start_ps[after] in {s.end_ps for s in found.spans if s.job == before} | {
            found.end_ps[before]
        }


def test_a_unit_alone_in_its_memory_waits_and_is_waited_for() -> None:
    """A unit in the memory of the CPU, where it works alone, beside one in a memory of its own."""
    machinery = Machinery((1, 1), (0, 1), (True, False), 0)
    jobs = [cpu(50), npu(100, 10), npu(30, 10, unit=1, memories=2), cpu(5)]
    found = simulate(jobs, [4, 3, 2, 1], machinery)
    # Units are taken before the CPU: its operators wait for the program in its memory.
    assert found.start_ps == (110, 0, 0, 160)
    assert found.end_ps == (160, 110, 50, 165)
    assert found.critical_path() == (1, 0, 3)
    # An operator that is under way is waited for.
    jobs = [npu(1, 1, unit=1, memories=2), cpu(50), npu(100, 10, 0)]
    found = simulate(jobs, [3, 2, 1], machinery)
    assert found.start_ps == (0, 1, 51)
    assert found.end_ps == (2, 51, 161)
    assert found.critical_path() == (0, 1, 2)


def test_programs_of_two_units_in_one_memory_slow_down() -> None:
    beside = [npu(100, 0, reads=500_000), npu(100, 0, reads=400_000, unit=1)]
    assert simulate(beside, [1, 1], Machinery((1, 1), (0, 0), (False, False))).latency_ps == 120
    apart = [beside[0], beside[1]._replace(memories=2)]
    assert simulate(apart, [1, 1], Machinery((1, 1), (0, 1), (False, False))).latency_ps == 100
    cut = [npu(100, 0, reads=500_000, core=ALL_CORES), beside[1]]
    assert simulate(cut, [1, 1], Machinery((2, 1), (0, 0), (False, False))).latency_ps == 120


def test_a_chain_on_one_unit_is_the_sum_of_its_parts() -> None:
    jobs = [npu(100, 7), npu(50, 7, 0), npu(25, 7, 1)]
    assert simulate(jobs, ranks(jobs)).latency_ps == 175 + 3 * 7


def test_branches_on_one_core_still_are_the_sum() -> None:
    jobs = [npu(100, 7), npu(50, 7, 0), npu(25, 7, 0), npu(5, 7, 1, 2)]
    assert simulate(jobs, ranks(jobs)).latency_ps == 180 + 4 * 7


def test_units_run_side_by_side() -> None:
    jobs = [npu(100, 10), cpu(90), join(0, 1)]
    assert simulate(jobs, ranks(jobs)).latency_ps == 110


def test_a_launch_interrupts_the_cpu() -> None:
    jobs = [npu(20, 10), npu(30, 10, 0), cpu(100)]
    found = simulate(jobs, [3, 2, 1])
    assert (found.start_ps[1], found.end_ps[1]) == (30, 70)
    assert [s[1:] for s in found.spans if s.job == 2] == [(0, 10, 30), (0, 40, 120)]
    assert found.critical_path() == (0, 2)


def test_of_equal_steps_the_first_of_the_model_goes_first_however_they_are_listed() -> None:
    first, second = cpu(40)._replace(position=1), cpu(40)._replace(position=2)
    after = npu(30, 10, 0)
    listed = simulate([first, second], [5, 5])
    turned = simulate([second, first], [5, 5])
    assert (listed.start_ps, turned.start_ps) == ((0, 40), (40, 0))
    launches = [after._replace(after=(), position=2), after._replace(after=(), position=1)]
    assert simulate(launches, [5, 5]).start_ps == (40, 0)


def test_programs_beside_one_another_slow_down() -> None:
    meeting = [npu(100, 0, reads=500_000), npu(100, 0, reads=400_000)]
    assert simulate(meeting, ranks(meeting), TWO).latency_ps == 120
    full = [npu(100, 0, reads=900_000) for _ in range(3)]
    assert simulate(full, ranks(full), THREE).latency_ps == 270
    alone = [npu(100, 0, reads=900_000), npu(100, 0)]
    assert simulate(alone, ranks(alone), TWO).latency_ps == 100


def test_slowdown_is_that_of_the_exact_timing_of_two_cores() -> None:
    unit = load_target("vta-x2").units[0]
    core = unit.machine
    epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True)
    workloads = [
        ConvWorkload(1, i, h, h, o, Window((k, k), (1, 1), (k // 2,) * 4), 1, epilogue)
        for i, h, o, k in [(64, 28, 16, 1), (192, 28, 64, 1), (480, 14, 96, 1), (512, 7, 512, 1)]
    ]
    programs = ProgramCosts(unit, {})
    errors = []
    for pair in combinations_with_replacement(workloads, 2):
        streams = [
            lower_layer(w, default_schedule(w, core), core.geometry).lowered.instructions
            for w in pair
        ]
        exact = time_programs(streams, core.timing, core.geometry, core.energy).cycles
        costs = [programs.program("", w) for w in pair]
        jobs = [
            Job(0, JobKind.PROGRAM, 0, c.cycles, 0, (), n, c.read_ppm, c.write_ppm)
            for n, c in enumerate(costs)
        ]
        errors.append(simulate(jobs, ranks(jobs), TWO).latency_ps / exact - 1)
    assert max(map(abs, errors)) < 0.10
    assert sum(map(abs, errors)) / len(errors) < 0.04


def test_equal_inputs_give_equal_timelines() -> None:
    jobs = [
        npu(97, 3, reads=700_001),
        npu(89, 3, reads=650_003),
        cpu(55, 0),
        cpu(21),
        npu(9, 1, 2),
    ]
    runs: set[Timeline] = {simulate(jobs, ranks(jobs), TWO) for _ in range(3)}
    assert len(runs) == 1


def test_no_jobs_take_no_time() -> None:
    found = simulate([], [])
    assert (found.latency_ps, found.critical_path()) == (0, ())


@pytest.mark.parametrize(
    "wrong", [[cpu(1, 0)], [cpu(1), cpu(1, 2)], [npu(1, 1, core=1)], [npu(1, 1, unit=1)]]
)
def test_wrong_jobs_are_refused(wrong: list[Job]) -> None:
    with pytest.raises(ValueError, match="job"):
        simulate(wrong, [0] * len(wrong), ONE_CORE)
