"""The bound of several cores: below every order of random jobs, and exact where it can be."""

from __future__ import annotations

import random

from compiler_core.partition.modules import lower_bound_ps
from compiler_core.partition.port_bound import late_or_early_bound_ps
from compiler_core.system.jobs import ALL_CORES, ANY_CORE, ON_HOST, Job, JobKind, Machinery
from compiler_core.system.timeline import simulate

TWO = Machinery.alike(2)


def drawn(draw: random.Random) -> list[Job]:
    jobs: list[Job] = []
    for index in range(draw.randint(1, 9)):
        after = tuple(sorted(draw.sample(range(index), draw.randint(0, min(index, 2)))))
        run = draw.randint(1, 10**9)
        if draw.random() < 0.3:
            jobs.append(Job(index, JobKind.OPERATOR, ON_HOST, run, 0, after))
            continue
        core = ALL_CORES if draw.random() < 0.2 else ANY_CORE
        ports = draw.randint(0, 10**6), draw.randint(0, 10**6)
        overhead = draw.choice([0, 10**7, 10**8])
        jobs.append(Job(index, JobKind.PROGRAM, 0, run, overhead, after, core, *ports))
    return jobs


def test_no_order_of_random_jobs_beats_it() -> None:
    draw = random.Random(7)
    tighter = 0
    for _ in range(150):
        jobs, machinery = drawn(draw), Machinery.alike(draw.choice([2, 4]))
        bound = late_or_early_bound_ps(jobs, machinery)
        for _ in range(6):
            order = [draw.random() for _ in jobs]
            found = simulate(jobs, [round(value * 1e6) for value in order], machinery)
            assert bound <= found.latency_ps
        tighter += bound > lower_bound_ps(jobs, machinery)
    assert tighter > 10


def program(index: int, after: tuple[int, ...] = (), read_ppm: int = 0, launch: int = 0) -> Job:
    return Job(index, JobKind.PROGRAM, 0, 10**9, launch, after, ANY_CORE, read_ppm, 0)


def test_by_hand() -> None:
    close = 10**4
    alone = late_or_early_bound_ps([program(0), program(1)], TWO)
    assert 10**9 - close <= alone <= 10**9
    # Two that want the whole channel take turns; a chain never runs side by side.
    full = late_or_early_bound_ps([program(0, read_ppm=10**6), program(1, read_ppm=10**6)], TWO)
    assert 2 * 10**9 - close <= full <= 2 * 10**9
    chain = late_or_early_bound_ps([program(0), program(1, after=(0,))], TWO)
    assert 2 * 10**9 - close <= chain <= 2 * 10**9
    # Half the channel each: 1 + 0.5 * 0.5 as long side by side.
    half = late_or_early_bound_ps([program(n, read_ppm=500_000) for n in range(2)], TWO)
    assert 125 * 10**7 - close <= half <= 125 * 10**7
    # A launch holds its core.
    launched = late_or_early_bound_ps([program(n, launch=10**8) for n in range(2)], TWO)
    assert 11 * 10**8 - close <= launched
