"""Layers that are one program, on the timeline, and which of them may be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.system.jobs import ANY_CORE, ON_HOST, Job, JobKind, Machinery, ranks
from compiler_core.system.joinable import joinable_steps
from compiler_core.system.runs import simulate_runs
from compiler_core.system.steps import ExecutionStep
from compiler_core.system.timeline import simulate
from compiler_core.units.facets.runs import joined_after, run_ends


@st.composite
def models(draw: st.DrawFn) -> list[ExecutionStep]:
    """Steps of the CPU, and of segments whose layers lie together behind all that they read."""
    steps: list[ExecutionStep] = []

    def add(segment: str, kind: JobKind, sources: list[int]) -> None:
        chosen = draw(st.sets(st.sampled_from(sources), max_size=3)) if sources else set()
        steps.append(ExecutionStep(segment, f"s{len(steps)}", kind, tuple(sorted(chosen))))

    for number in range(draw(st.integers(1, 4))):
        outside = list(range(len(steps)))
        if draw(st.booleans()):
            add(f"c{number}", JobKind.OPERATOR, outside)
            continue
        first = len(steps)
        for _ in range(draw(st.integers(1, 6))):
            add(f"n{number}", JobKind.PROGRAM, [*outside, *range(first, len(steps))])
    return steps


def reaches(steps: list[ExecutionStep], early: int, late: int) -> bool:
    return late == early or any(reaches(steps, early, at) for at in steps[late].after)


def layers_of(steps: list[ExecutionStep]) -> list[str | None]:
    return ["unit" for step in steps if step.kind is JobKind.PROGRAM]


@settings(max_examples=200, deadline=None)
@given(models(), st.booleans())
def test_a_run_makes_nobody_wait_for_longer(steps: list[ExecutionStep], chains: bool) -> None:
    found = set(joinable_steps(steps, layers_of(steps), chains=chains))
    for step in found:
        assert steps[step].segment == steps[step - 1].segment
        assert not chains or step - 1 in steps[step].after
    ends = run_ends([step in found for step in range(len(steps))])
    for step in range(len(steps)):
        head = next(at for at in range(step, -1, -1) if at not in found)
        for source in steps[step].after:
            if source < head:
                assert step == head or reaches(steps, source, head)
        for reader in range(step + 1, len(steps)):
            if step in steps[reader].after and reader > ends[step]:
                assert reaches(steps, ends[step], reader)


def test_a_chain_is_one_run_and_what_leaves_it_cuts_it() -> None:
    def launch(number: int, *after: int) -> ExecutionStep:
        return ExecutionStep("n", f"s{number}", JobKind.PROGRAM, after)

    chain = [launch(0), launch(1, 0), launch(2, 1, 0)]
    assert joinable_steps(chain, ["vta"] * 3) == [1, 2]
    assert joinable_steps(chain, ["vta", "vta", None]) == [1]
    assert joinable_steps(chain, ["vta0", "vta1", "vta1"]) == [2]
    out = [*chain, ExecutionStep("n", "s1", JobKind.DEQUANTIZE, (1,))]
    assert joinable_steps(out, ["vta"] * 3) == [1]
    late = [ExecutionStep("c", "x", JobKind.OPERATOR, ()), launch(1), launch(2, 1, 0), launch(3, 2)]
    assert joinable_steps(late, ["vta"] * 3) == [3]
    early = [late[0], launch(1, 0), launch(2, 1, 0)]
    assert joinable_steps(early, ["vta"] * 2) == [2]
    branches = [launch(0), launch(1, 0), launch(2, 0), launch(3, 1, 2)]
    assert joinable_steps(branches, ["vta"] * 4) == [1, 2, 3]
    assert joinable_steps(branches, ["vta"] * 4, chains=True) == []


@st.composite
def played(draw: st.DrawFn) -> tuple[list[Job], list[bool], Machinery]:
    steps = draw(models())
    cores = draw(st.integers(1, 2))
    found = joinable_steps(steps, layers_of(steps), chains=cores > 1)
    jobs = []
    for number, step in enumerate(steps):
        npu = step.kind is JobKind.PROGRAM
        jobs.append(
            Job(
                number,
                step.kind,
                0 if npu else ON_HOST,
                draw(st.integers(1, 50)),
                draw(st.integers(1, 9)) if npu and number not in found else 0,
                step.after,
                ANY_CORE,
                draw(st.integers(0, 1_000_000)) if npu else 0,
            )
        )
    return jobs, [number in found for number in range(len(steps))], Machinery.alike(cores)


@settings(max_examples=200, deadline=None)
@given(played())
def test_layers_of_a_run_follow_one_another(
    case: tuple[list[Job], list[bool], Machinery],
) -> None:
    jobs, continued, machinery = case
    found = simulate_runs(jobs, continued, machinery)
    ends = run_ends(continued)
    for number, job in enumerate(jobs):
        head = next(at for at in range(number, -1, -1) if not continued[at])
        assert found.end_ps[number] >= found.start_ps[number] + job.run_ps
        if continued[number]:
            assert found.start_ps[number] == found.end_ps[number - 1]
            assert found.core[number] == found.core[number - 1]
            assert found.cause[number] == number - 1
        for source in job.after:
            if source < head:
                assert found.start_ps[head] >= found.end_ps[ends[source]]
        assert any(span.job == number for span in found.spans)
    assert found.latency_ps == max(found.end_ps)
    for track in range(1 + machinery.cores[0]):
        own = sorted(span for span in found.spans if span.track == track)
        for before, after in pairwise(sorted(own, key=lambda span: span.start_ps)):
            assert before.end_ps <= after.start_ps
    assert found.critical_path()[-1] in [
        n for n, end in enumerate(found.end_ps) if end == found.latency_ps
    ]
    if not any(continued):
        assert found == simulate(jobs, ranks(jobs), machinery)


def test_a_run_waits_for_what_any_layer_of_it_needs() -> None:
    after = [(), (), (0,), (2, 1), (2,), (3,)]
    continued = [False, False, False, True, False, False]
    assert run_ends(continued) == [0, 1, 3, 3, 4, 5]
    assert joined_after(after, continued) == [(), (), (0, 1), (2,), (3,), (3,)]
