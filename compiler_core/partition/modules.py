"""Modules of a model: what lies between groups that everything passes through.

Where all dependences between what comes before and what comes after lead out of one group, nothing
after it can start before that group ends, and nothing before it is left to do. So the latency of a
placement is the sum over modules, and a module's share depends on nothing outside but the unit of
the group before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler_core.partition.groups import OUTSIDE, GroupGraph
from compiler_core.system.timeline import ALL_CORES, WHOLE_PPM, Resource, Task, ranks


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


def lower_bound_ps(tasks: Sequence[Task], cores: int) -> int:
    """What no order of these tasks can beat.

    The largest of the longest way through the dependences and, per resource, the one-machine bound
    with heads and tails.

    Source: Carlier, "The one-machine sequencing problem", 1982 (Jackson's preemptive schedule).
    """
    tails = ranks(tasks)
    heads = [0] * len(tasks)
    load = 0
    cpu: list[tuple[int, int, int]] = []
    npu: list[tuple[int, int, int]] = []
    for index, task in enumerate(tasks):
        head = 0
        for before in task.after:
            done = heads[before] + tasks[before].run_ps + tasks[before].overhead_ps
            head = max(head, done)
        heads[index] = head
        tail = tails[index] - task.run_ps - task.overhead_ps
        if task.resource is Resource.CPU:
            cpu.append((head, task.run_ps, tail))
        elif task.resource is Resource.NPU:
            cpu.append((head, task.overhead_ps, task.run_ps + tail))
            npu.append((head, task.overhead_ps + task.run_ps, tail))
            load += npu[-1][1] * (cores if task.core == ALL_CORES else 1)
    longest = max(tails, default=0)
    if cores > 1:
        outside = min((job[0] for job in npu), default=0) + min((j[2] for j in npu), default=0)
        shared = max(-(-load // cores), _port_load(tasks))
        return max(longest, one_machine_ps(cpu), shared + outside)
    return max(longest, one_machine_ps(cpu), one_machine_ps(npu))


def heads_and_tails(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    """Per task the longest way from the start to its beginning, and from its end to the end."""
    tails = ranks(tasks)
    heads = [0] * len(tasks)
    for index, task in enumerate(tasks):
        for before in task.after:
            done = heads[before] + tasks[before].run_ps + tasks[before].overhead_ps
            heads[index] = max(heads[index], done)
        tails[index] -= task.run_ps + task.overhead_ps
    return list(zip(heads, tails, strict=True))


def _port_load(tasks: Sequence[Task]) -> int:
    """Time that the busier channel of the port needs for all programs."""
    reads = sum(task.run_ps * task.read_ppm for task in tasks)
    return max(reads, sum(task.run_ps * task.write_ppm for task in tasks)) // WHOLE_PPM


def one_machine_ps(jobs: Sequence[tuple[int, int, int]]) -> int:
    """Least makespan of ``(head, time, tail)`` jobs on one machine that may interrupt them."""
    waiting = sorted(jobs, reverse=True)
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
