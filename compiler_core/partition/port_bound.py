"""What no order of programs on several cores can beat, the port's contention included.

A linear program over the sets of programs that can run at the same time: a program advances slower
the more of the port its neighbours want, by the rules of the system timeline; programs that need
one another's results never run together; and a core that is being launched holds a place without
using the port. Programs may be interrupted and come in any order, so the optimum is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from compiler_core.partition.modules import heads_and_tails
from compiler_core.system.jobs import ALL_CORES, WHOLE_PPM, Job, Machinery

_MOST_PROGRAMS = 10
_TOLERANCE = 5e-6
"""Above what the solver and the timeline's whole millionths can be off by."""

_Demand = tuple[int, int, int]
"""Time alone in picoseconds, and the shares of the read and the write channel in millionths."""

_Pairs = frozenset[tuple[int, int]]


def late_or_early_bound_ps(jobs: Sequence[Job], machinery: Machinery) -> int:
    """The largest of ``head + cores' time + tail`` over the programs of a unit of several cores
    that cannot begin before some head, and over those that something of some length has to follow.

    Args:
        jobs: Of a module.
        machinery: Units; those of one core count for nothing.

    Source: the one-machine bound of Carlier, 1982, with the linear program as the machine.
    """
    ways = heads_and_tails(jobs)
    before = _ancestors(jobs)
    best = 0
    for unit, cores in enumerate(machinery.cores):
        own = [index for index, job in enumerate(jobs) if job.unit == unit] if cores > 1 else []
        for side in (0, 1):
            for least in sorted({ways[index][side] for index in own}):
                chosen = [index for index in own if ways[index][side] >= least]
                other = min(ways[index][1 - side] for index in chosen)
                best = max(best, least + _cores_ps(jobs, chosen, before, cores) + other)
    return best


def _ancestors(jobs: Sequence[Job]) -> list[int]:
    """What has to be over before each job begins, as a bit per job."""
    found: list[int] = []
    for job in jobs:
        mask = 0
        for source in job.after:
            mask |= found[source] | 1 << source
        found.append(mask)
    return found


def _cores_ps(jobs: Sequence[Job], chosen: Sequence[int], before: Sequence[int], cores: int) -> int:
    """Least time in which the cores get through the chosen programs."""
    alone = overhead = 0
    together: list[int] = []
    for index in chosen:
        job = jobs[index]
        if job.core == ALL_CORES:
            alone += job.run_ps + job.overhead_ps
        else:
            together.append(index)
            overhead += job.overhead_ps
    if not together:
        return alone
    apart = frozenset(
        (one, other)
        for one, other in combinations(range(len(together)), 2)
        if before[together[other]] >> together[one] & 1
    )
    demands = tuple(
        (jobs[index].run_ps, jobs[index].read_ppm, jobs[index].write_ppm) for index in together
    )
    return alone + _together_ps(demands, apart, overhead, cores)


@lru_cache(maxsize=1 << 14)
def _together_ps(demands: tuple[_Demand, ...], apart: _Pairs, overhead: int, cores: int) -> int:
    load = sum(run for run, _, _ in demands) + overhead
    plain = max(-(-load // cores), *(_channel(demands, channel) for channel in (1, 2)))
    if len(demands) > _MOST_PROGRAMS:
        return plain
    columns: list[list[float]] = []
    for size in range(cores + 1):
        for chosen in combinations(range(len(demands)), size):
            if any(pair in apart for pair in combinations(chosen, 2)):
                continue
            rates = [0.0] * (len(demands) + 1)
            for index in chosen:
                rates[index] = _rate(demands, chosen, index)
            if size:
                columns.append(rates)
            if size < cores:
                columns.append([*rates[:-1], 1.0])
    scale = float(load)
    wanted = np.array([run for run, _, _ in demands] + [overhead], float) / scale
    matrix = np.array(columns).T
    from scipy.optimize import linprog  # loaded where it is used: it takes long

    found = linprog(np.ones(len(columns)), A_ub=-matrix, b_ub=-wanted, method="highs")
    if found.status != 0:
        return plain
    return max(plain, int(found.fun * scale * (1 - _TOLERANCE)))


def _rate(demands: tuple[_Demand, ...], chosen: tuple[int, ...], index: int) -> float:
    """How much of its own speed a program keeps beside the others, as the timeline has it."""
    _, read, write = demands[index]
    reads = sum(demands[other][1] for other in chosen)
    writes = sum(demands[other][2] for other in chosen)
    meetings = (read * (reads - read) + write * (writes - write)) / WHOLE_PPM
    return WHOLE_PPM / max(WHOLE_PPM + meetings, reads, writes)


def _channel(demands: tuple[_Demand, ...], channel: int) -> int:
    return sum(demand[0] * demand[channel] for demand in demands) // WHOLE_PPM
