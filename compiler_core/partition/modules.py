"""Modules of a model: what lies between groups that everything passes through.

Where all dependences between what comes before and what comes after lead out of one group, nothing
after it can start before that group ends, and nothing before it is left to do. So the latency of a
placement is the sum over modules, and a module's share depends on nothing outside but the unit of
the group before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler_core.partition.group_graph import OUTSIDE, GroupGraph
from compiler_core.system.jobs import ALL_CORES, ON_HOST, WHOLE_PPM, Job, Machinery, ranks

Stretch = tuple[int, int, int]
"""What has to be over before it, its time, and what has to follow it, in picoseconds."""


@dataclass(frozen=True)
class Module:
    """Groups ``first`` to ``stop - 1``; the last one is where all ways meet."""

    first: int
    stop: int


def modules_of(groups: GroupGraph) -> tuple[Module, ...]:
    """Splits the groups into as many modules as there can be."""
    count = len(groups.groups)
    # reach[p]: furthest position that reads what p writes; the caller reads after everything.
    reach = [0] * count
    furthest_from_outside = -1
    for tensor in groups.tensors:
        last = count if tensor.is_output else max(tensor.consumers, default=-1)
        if tensor.producer == OUTSIDE:
            furthest_from_outside = max(furthest_from_outside, last)
        else:
            reach[tensor.producer] = max(reach[tensor.producer], last)
    for group in groups.groups:
        if not group.reads:  # can start at any time: as if it read an input of the model
            furthest_from_outside = max(furthest_from_outside, group.index)
    modules = []
    first, crossing = 0, furthest_from_outside
    for position in range(count):
        if position == count - 1 or crossing <= position:
            modules.append(Module(first, position + 1))
            first = position + 1
        crossing = max(crossing, reach[position])
    return tuple(modules)


def lower_bound_ps(jobs: Sequence[Job], machinery: Machinery) -> int:
    """What no order of these jobs can beat.

    The largest of the longest way through the dependences and, per unit, the one-machine bound with
    heads and tails.

    Source: Carlier, "The one-machine sequencing problem", 1982 (Jackson's preemptive schedule).
    """
    ways = heads_and_tails(jobs)
    best = max(
        (
            head + job.run_ps + job.overhead_ps + tail
            for job, (head, tail) in zip(jobs, ways, strict=True)
        ),
        default=0,
    )
    host: list[Stretch] = []
    units: dict[int, list[tuple[Job, Stretch]]] = {}
    for job, (head, tail) in zip(jobs, ways, strict=True):
        if job.unit == ON_HOST:
            host.append((head, job.run_ps, tail))
        elif job.unit >= 0:
            host.append((head, job.overhead_ps, job.run_ps + tail))
            stretch = head, job.overhead_ps + job.run_ps, tail
            units.setdefault(job.unit, []).append((job, stretch))
    best = max(best, one_machine_ps(host))
    for unit, own in units.items():
        stretches = [stretch for _, stretch in own]
        cores = machinery.cores[unit]
        if cores == 1:
            best = max(best, one_machine_ps(stretches))
            continue
        outside = min(head for head, _, _ in stretches) + min(tail for _, _, tail in stretches)
        load = sum(time * (cores if job.core == ALL_CORES else 1) for job, (_, time, _) in own)
        best = max(best, max(-(-load // cores), _port_load([job for job, _ in own])) + outside)
    return best


def heads_and_tails(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Per job the longest way from the start to its beginning, and from its end to the end."""
    tails = ranks(jobs)
    heads = [0] * len(jobs)
    for index, job in enumerate(jobs):
        for before in job.after:
            done = heads[before] + jobs[before].run_ps + jobs[before].overhead_ps
            heads[index] = max(heads[index], done)
        tails[index] -= job.run_ps + job.overhead_ps
    return list(zip(heads, tails, strict=True))


def _port_load(jobs: Sequence[Job]) -> int:
    """Time that the busier channel of the memory needs for all programs."""
    reads = sum(job.run_ps * job.read_ppm for job in jobs)
    return max(reads, sum(job.run_ps * job.write_ppm for job in jobs)) // WHOLE_PPM


def one_machine_ps(stretches: Sequence[Stretch]) -> int:
    """Least makespan of ``(head, time, tail)`` stretches on one machine that may interrupt them."""
    waiting = sorted(stretches, reverse=True)
    ready: list[tuple[int, int]] = []  # (tail, time left), a handful at most
    now = best = 0
    while waiting or ready:
        if not ready:
            now = max(now, waiting[-1][0])
        while waiting and waiting[-1][0] <= now:
            _, time, tail = waiting.pop()
            ready.append((tail, time))
        ready.sort()
        tail, time = ready.pop()
        step = min(time, waiting[-1][0] - now) if waiting else time
        now += step
        if step < time:
            ready.append((tail, time - step))
        else:
            best = max(best, now + tail)
    return best
