"""The event simulation: against a plain reference that steps through time, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.partition.modules import lower_bound_ps
from compiler_core.partition.programs import ProgramCosts
from compiler_core.system.timeline import (
    ALL_CORES,
    ANY_CORE,
    Resource,
    Task,
    TaskKind,
    Timeline,
    ranks,
    simulate,
)
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.simulate.multicore import time_programs


def cpu(run: int, *after: int) -> Task:
    return Task(0, TaskKind.OPERATOR, Resource.CPU, run, 0, after)


def npu(run: int, launch: int, *after: int, core: int = ANY_CORE, reads: int = 0) -> Task:
    return Task(0, TaskKind.PROGRAM, Resource.NPU, run, launch, after, core, reads)


def place(*after: int) -> Task:
    return Task(0, TaskKind.PLACE, Resource.NONE, 0, 0, after)


def reference_ends(tasks: Sequence[Task], priorities: Sequence[int], cores: int) -> list[int]:
    """Ends of all tasks, one picosecond after another, for tasks that do not use the port."""
    order = sorted(range(len(tasks)), key=lambda t: (-priorities[t], t))
    ends: dict[int, int] = {}
    launch_left = {t: task.overhead_ps for t, task in enumerate(tasks)}
    left = {t: task.run_ps for t, task in enumerate(tasks)}
    held: list[int | None] = [None] * cores
    on_cpu: int | None = None
    launching: int | None = None
    now = 0
    while len(ends) < len(tasks):
        changed = True
        while changed:  # whatever takes no time at this moment
            changed = False
            ready = [t for t in order if t not in ends and all(b in ends for b in tasks[t].after)]
            for t in ready:
                if tasks[t].resource is Resource.NONE:
                    ends[t], changed = now, True
            if changed:
                continue
            for t in ready:
                if tasks[t].resource is Resource.NPU and t not in held:
                    wanted = tasks[t].core
                    if wanted == ALL_CORES:
                        chosen = list(range(cores)) if held == [None] * cores else []
                    elif wanted == ANY_CORE:
                        chosen = [held.index(None)] if None in held else []
                    else:
                        chosen = [wanted] if held[wanted] is None else []
                    for core in chosen:
                        held[core] = t
            if launching is None:
                waiting = [t for t in order if t in held and launch_left[t] >= 0]
                launching = waiting[0] if waiting else None
            if launching is None and on_cpu is None:
                waiting = [t for t in ready if tasks[t].resource is Resource.CPU]
                on_cpu = waiting[0] if waiting else None
            if launching is not None and launch_left[launching] == 0:
                launch_left[launching] = -1
                launching, changed = None, True
            elif launching is None and on_cpu is not None and left[on_cpu] == 0:
                ends[on_cpu], on_cpu, changed = now, None, True
            finished = {t for t in held if t is not None and launch_left[t] < 0 and left[t] == 0}
            for t in finished:
                ends[t], changed = now, True
                held = [None if h == t else h for h in held]
        for t in {t for t in held if t is not None and launch_left[t] < 0}:
            left[t] -= 1
        if launching is not None:
            launch_left[launching] -= 1
        elif on_cpu is not None:
            left[on_cpu] -= 1
        now += 1
    return [ends[t] for t in range(len(tasks))]


@st.composite
def task_lists(draw: st.DrawFn) -> tuple[list[Task], int]:
    cores = draw(st.integers(1, 3))
    tasks: list[Task] = []
    for index in range(draw(st.integers(1, 12))):
        after = tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3)))) if index else ()
        kind = draw(st.sampled_from(["cpu", "npu", "place"]))
        # At least 1: tasks that end in the same picosecond as they start have no order to compare.
        run = draw(st.integers(1, 9))
        if kind == "cpu":
            tasks.append(cpu(run, *after))
        elif kind == "npu":
            core = draw(st.sampled_from([ANY_CORE, ALL_CORES, *range(cores)]))
            tasks.append(npu(run, draw(st.integers(1, 4)), *after, core=core))
        else:
            tasks.append(place(*after))
    return tasks, cores


@given(task_lists())
@settings(max_examples=300)
def test_ends_are_those_of_the_reference(case: tuple[list[Task], int]) -> None:
    tasks, cores = case
    found = simulate(tasks, ranks(tasks), cores)
    assert list(found.end_ps) == reference_ends(tasks, ranks(tasks), cores)


@given(task_lists())
@settings(max_examples=200)
def test_timelines_keep_the_rules(case: tuple[list[Task], int]) -> None:
    tasks, cores = case
    found = simulate(tasks, ranks(tasks), cores)
    for index, task in enumerate(tasks):
        assert all(found.end_ps[before] <= found.start_ps[index] for before in task.after)
        assert found.end_ps[index] - found.start_ps[index] >= task.run_ps + task.overhead_ps
    for track in range(1 + cores):
        spans = sorted((s.start_ps, s.end_ps) for s in found.spans if s.track == track)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    on_cpu = sum(s.end_ps - s.start_ps for s in found.spans if s.track == 0)
    assert on_cpu == sum(t.run_ps if t.resource is Resource.CPU else t.overhead_ps for t in tasks)
    assert found.latency_ps == max(found.end_ps)
    assert lower_bound_ps(tasks, cores) <= found.latency_ps


@given(task_lists())
@settings(max_examples=200)
def test_the_critical_path_leads_from_start_to_end(case: tuple[list[Task], int]) -> None:
    tasks, cores = case
    found = simulate(tasks, ranks(tasks), cores)
    path = found.critical_path()
    assert found.start_ps[path[0]] == 0
    assert found.end_ps[path[-1]] == found.latency_ps
    for before, after in pairwise(path):
        assert found.start_ps[after] in {s.end_ps for s in found.spans if s.task == before} | {
            found.end_ps[before]
        }


def test_a_chain_on_one_unit_is_the_sum_of_its_parts() -> None:
    tasks = [npu(100, 7), npu(50, 7, 0), npu(25, 7, 1)]
    assert simulate(tasks, ranks(tasks)).latency_ps == 175 + 3 * 7


def test_branches_on_one_core_still_are_the_sum() -> None:
    tasks = [npu(100, 7), npu(50, 7, 0), npu(25, 7, 0), npu(5, 7, 1, 2)]
    assert simulate(tasks, ranks(tasks)).latency_ps == 180 + 4 * 7


def test_units_run_side_by_side() -> None:
    tasks = [npu(100, 10), cpu(90), place(0, 1)]
    assert simulate(tasks, ranks(tasks)).latency_ps == 110


def test_a_launch_interrupts_the_cpu() -> None:
    tasks = [npu(20, 10), npu(30, 10, 0), cpu(100)]
    found = simulate(tasks, [3, 2, 1])
    assert (found.start_ps[1], found.end_ps[1]) == (30, 70)
    assert [s[1:] for s in found.spans if s.task == 2] == [(0, 10, 30), (0, 40, 120)]
    assert found.critical_path() == (0, 2)


def test_of_equal_steps_the_first_of_the_model_goes_first_however_they_are_listed() -> None:
    first, second = cpu(40)._replace(place=1), cpu(40)._replace(place=2)
    after = npu(30, 10, 0)
    listed = simulate([first, second], [5, 5])
    turned = simulate([second, first], [5, 5])
    assert (listed.start_ps, turned.start_ps) == ((0, 40), (40, 0))
    launches = [after._replace(after=(), place=2), after._replace(after=(), place=1)]
    assert simulate(launches, [5, 5]).start_ps == (40, 0)


def test_programs_beside_one_another_slow_down() -> None:
    meeting = [npu(100, 0, reads=500_000), npu(100, 0, reads=400_000)]
    assert simulate(meeting, ranks(meeting), 2).latency_ps == 120
    full = [npu(100, 0, reads=900_000) for _ in range(3)]
    assert simulate(full, ranks(full), 3).latency_ps == 270
    alone = [npu(100, 0, reads=900_000), npu(100, 0)]
    assert simulate(alone, ranks(alone), 2).latency_ps == 100


def test_slowdown_is_that_of_the_exact_timing_of_two_cores() -> None:
    core = load_target("vta-x2").npu
    epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True)
    workloads = [
        ConvWorkload(1, i, h, h, o, Window((k, k), (1, 1), (k // 2,) * 4), 1, epilogue)
        for i, h, o, k in [(64, 28, 16, 1), (192, 28, 64, 1), (480, 14, 96, 1), (512, 7, 512, 1)]
    ]
    programs = ProgramCosts(core, {})
    errors = []
    for pair in combinations_with_replacement(workloads, 2):
        streams = [
            lower_layer(w, default_schedule(w, core), core.geometry).lowered.instructions
            for w in pair
        ]
        exact = time_programs(streams, core.timing, core.geometry, core.energy).cycles
        costs = [programs.program("", w) for w in pair]
        tasks = [
            Task(0, TaskKind.PROGRAM, Resource.NPU, c.cycles, 0, (), n, c.read_ppm, c.write_ppm)
            for n, c in enumerate(costs)
        ]
        errors.append(simulate(tasks, ranks(tasks), 2).latency_ps / exact - 1)
    assert max(map(abs, errors)) < 0.10
    assert sum(map(abs, errors)) / len(errors) < 0.04


def test_equal_inputs_give_equal_timelines() -> None:
    tasks = [
        npu(97, 3, reads=700_001),
        npu(89, 3, reads=650_003),
        cpu(55, 0),
        cpu(21),
        npu(9, 1, 2),
    ]
    runs: set[Timeline] = {simulate(tasks, ranks(tasks), 2) for _ in range(3)}
    assert len(runs) == 1


def test_no_tasks_take_no_time() -> None:
    found = simulate([], [])
    assert (found.latency_ps, found.critical_path()) == (0, ())


@pytest.mark.parametrize("wrong", [[cpu(1, 0)], [cpu(1), cpu(1, 2)], [npu(1, 1, core=1)]])
def test_wrong_tasks_are_refused(wrong: list[Task]) -> None:
    with pytest.raises(ValueError, match="task"):
        simulate(wrong, [0] * len(wrong), 1)
