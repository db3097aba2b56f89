"""Event simulation of a system: one CPU, NPU cores that share a memory port, dependent tasks.

Times are integers in picoseconds, so that equal inputs give equal timelines on any machine.

- The CPU runs one task at a time, to its end, the one of highest priority first.
- A launch is an interrupt to it: whatever the CPU runs pauses for ``overhead_ps``. The core is
  taken from the beginning of the launch to the end of the program; it has no queue of launches.
- Programs on several cores share the port. A program alone keeps the read channel busy for the
  share ``r`` of its time (``read_ppm``) and the write channel for ``w``. Beside others it slows
  down by the largest of ``1 + r * (sum of the others' r) + w * (sum of the others' w)`` (transfers
  wait where they meet) and the sum of all ``r`` and of all ``w`` (a channel is full). A test holds
  this to the cycle-exact timing of several cores.
- A sliced operator takes all cores; its time on them is measured with the port shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple

WHOLE_PPM = 1_000_000
PICOSECONDS = 10**12
"""Per second."""

_PICOSECONDS_PER_MILLISECOND = 10**9

ANY_CORE = -1
ALL_CORES = -2
_NOBODY = -1


class Resource(IntEnum):
    """What a task needs while it runs; ``NONE`` takes no time."""

    NONE = 0
    CPU = 1
    NPU = 2


class TaskKind(IntEnum):
    """What a task does."""

    OPERATOR = 0
    PROGRAM = 1
    QUANTIZE = 2
    DEQUANTIZE = 3
    PLACE = 4
    """A concatenation on the NPU: its producers have written into its place."""


class Task(NamedTuple):
    """One step on one resource.

    Attributes:
        subject: Index of the group, or of the tensor for conversions.
        kind, resource: What and where.
        run_ps: Time on the CPU, or of the program on its core.
        overhead_ps: CPU time of the launch.
        after: Indices of the tasks that have to end first; all smaller than its own.
        core: Core that it is bound to, :data:`ANY_CORE`, or :data:`ALL_CORES` if sliced.
        read_ppm, write_ppm: Demand on the port's channels.
        place: Where it stands in the model; see :mod:`compiler_core.system.places`.
    """

    subject: int
    kind: TaskKind
    resource: Resource
    run_ps: int
    overhead_ps: int
    after: tuple[int, ...]
    core: int = ANY_CORE
    read_ppm: int = 0
    write_ppm: int = 0
    place: int = 0


class Span(NamedTuple):
    """A stretch of a task on a track: 0 is the CPU, ``1 + core`` a core."""

    task: int
    track: int
    start_ps: int
    end_ps: int


@dataclass(frozen=True)
class Timeline:
    """What a simulation returns; lists are by task.

    Attributes:
        latency_ps: End of the last task.
        start_ps: When the task took its resource.
        end_ps: When it ended.
        core: Core of a program (:data:`ALL_CORES` if sliced), else :data:`ANY_CORE`.
        cause: Task whose end let this one start (the last of those it depends on, or the one that
            held its resource; a launch holds the CPU), -1 for those that start at once.
        spans: In order of their ends; a paused CPU task has several.
    """

    latency_ps: int
    start_ps: tuple[int, ...]
    end_ps: tuple[int, ...]
    core: tuple[int, ...]
    cause: tuple[int, ...]
    spans: tuple[Span, ...]

    def critical_path(self) -> tuple[int, ...]:
        """Tasks from the start to the end of the timeline, each the cause of the next one."""
        if not self.end_ps:
            return ()
        task = max(range(len(self.end_ps)), key=lambda t: (self.end_ps[t], -t))
        path = []
        while task != _NOBODY:
            path.append(task)
            task = self.cause[task]
        return tuple(reversed(path))


def picoseconds(milliseconds: float) -> int:
    """A time of a report as one of timelines; plans and packages round by this alone."""
    return round(milliseconds * _PICOSECONDS_PER_MILLISECOND)


def ranks(tasks: Sequence[Task]) -> list[int]:
    """Longest way from the start of each task to the end, in picoseconds: the default priority.

    Source: Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
    heterogeneous computing", 2002 (upward rank).
    """
    tails = [0] * len(tasks)
    for index in range(len(tasks) - 1, -1, -1):
        task = tasks[index]
        tails[index] += task.run_ps + task.overhead_ps
        for before in task.after:
            tails[before] = max(tails[before], tails[index])
    return tails


def simulate(tasks: Sequence[Task], priorities: Sequence[int], cores: int = 1) -> Timeline:
    """Plays tasks on one CPU and ``cores`` NPU cores.

    Args:
        tasks: Topologically sorted.
        priorities: Per task; where several wait for a resource, the highest goes first, then what
            stands first in the model, then the lowest index.
        cores: NPU cores, at least 1.

    Raises:
        ValueError: A task depends on itself or a later one, or is bound to a core that is not
            there.
    """
    return _Simulation(tasks, priorities, cores).run()


class _Simulation:
    def __init__(self, tasks: Sequence[Task], priorities: Sequence[int], cores: int) -> None:
        count = len(tasks)
        self._tasks, self._priorities = tasks, priorities
        self._waiting = [len(task.after) for task in tasks]
        self._followers: list[list[int]] = [[] for _ in tasks]
        for index, task in enumerate(tasks):
            for before in task.after:
                if not 0 <= before < index:
                    raise ValueError(f"task {index} is after task {before}")
                self._followers[before].append(index)
            if not ALL_CORES <= task.core < cores:
                raise ValueError(f"task {index} is bound to core {task.core} of {cores}")
        self._now = 0
        self._ready_at, self._start, self._end = [0] * count, [0] * count, [0] * count
        self._core, self._cause = [ANY_CORE] * count, [_NOBODY] * count
        self._last_source = [_NOBODY] * count
        self._cpu_ready: list[tuple[int, int, int]] = []
        self._npu_ready: list[tuple[int, int, int]] = []
        self._launches: list[tuple[int, int, int]] = []
        self._cpu_task, self._cpu_left, self._cpu_since, self._cpu_last = _NOBODY, 0, 0, _NOBODY
        self._launching, self._launch_left = _NOBODY, 0
        # Task that holds each core, and what is left of its program; None before that has begun.
        self._held = [_NOBODY] * cores
        self._left: list[int | None] = [None] * cores
        self._begun = [0] * cores
        self._core_last = [_NOBODY] * cores
        self._free = cores
        self._spans: list[Span] = []

    def run(self) -> Timeline:
        for index, waiting in enumerate(self._waiting):
            if waiting == 0 and not self._tasks[index].after:
                self._release(index)
        while True:
            self._dispatch()
            slowdowns = self._slowdowns()
            step = self._next_event(slowdowns)
            if step is None:
                break
            self._advance(step, slowdowns)
        return Timeline(
            self._now,
            tuple(self._start),
            tuple(self._end),
            tuple(self._core),
            tuple(self._cause),
            tuple(self._spans),
        )

    def _release(self, index: int) -> None:
        self._ready_at[index] = self._now
        task = self._tasks[index]
        resource = task.resource
        if resource is Resource.NONE:
            self._start[index] = self._now
            self._cause[index] = self._last_source[index]
            self._finish(index)
            return
        queue = self._cpu_ready if resource is Resource.CPU else self._npu_ready
        heappush(queue, (-self._priorities[index], task.place, index))

    def _finish(self, index: int) -> None:
        self._end[index] = self._now
        for follower in self._followers[index]:
            self._waiting[follower] -= 1
            self._last_source[follower] = index
            if self._waiting[follower] == 0:
                self._release(follower)

    def _begin(self, index: int, holder: int) -> None:
        self._start[index] = self._now
        waited = self._ready_at[index] < self._now
        self._cause[index] = holder if waited else self._last_source[index]

    def _dispatch(self) -> None:
        if self._free and self._npu_ready:
            self._take_cores()
        if self._launching == _NOBODY and self._launches:
            if self._cpu_task != _NOBODY and self._now > self._cpu_since:
                self._spans.append(Span(self._cpu_task, 0, self._cpu_since, self._now))
            self._launching = heappop(self._launches)[-1]
            self._launch_left = self._tasks[self._launching].overhead_ps
            self._cpu_since = self._now
        if self._launching == _NOBODY and self._cpu_task == _NOBODY and self._cpu_ready:
            self._cpu_task = heappop(self._cpu_ready)[-1]
            self._cpu_left = self._tasks[self._cpu_task].run_ps
            self._cpu_since = self._now
            self._begin(self._cpu_task, self._cpu_last)

    def _take_cores(self) -> None:
        kept = []
        while self._free and self._npu_ready:
            entry = heappop(self._npu_ready)
            index = entry[-1]
            wanted = self._tasks[index].core
            if wanted == ANY_CORE:
                wanted = self._held.index(_NOBODY)
            cores = range(len(self._held)) if wanted == ALL_CORES else (wanted,)
            if any(self._held[core] != _NOBODY for core in cores):
                kept.append(entry)
                continue
            for core in cores:
                self._held[core] = index
                self._left[core] = None
            self._free -= len(cores)
            self._core[index] = wanted
            # Of the cores that it waited for, the one that was taken last.
            holders = [self._core_last[core] for core in cores]
            self._begin(index, max(holders, key=lambda task: self._end[task] if task >= 0 else -1))
            heappush(self._launches, entry)
        for entry in kept:
            heappush(self._npu_ready, entry)

    def _slowdowns(self) -> list[int]:
        """By how much the program on each core slows down, in millionths."""
        whole = [WHOLE_PPM] * len(self._held)
        if len(whole) == 1:
            return whole
        running = [
            (core, self._tasks[task].read_ppm, self._tasks[task].write_ppm)
            for core, (task, left) in enumerate(zip(self._held, self._left, strict=True))
            if left is not None and self._tasks[task].core != ALL_CORES
        ]
        reads, writes = sum(item[1] for item in running), sum(item[2] for item in running)
        full = max(WHOLE_PPM, reads, writes)
        for core, read, write in running:
            meetings = (read * (reads - read) + write * (writes - write)) // WHOLE_PPM
            whole[core] = max(full, WHOLE_PPM + meetings)
        return whole

    def _next_event(self, slowdowns: list[int]) -> int | None:
        step: int | None = None
        if self._launching != _NOBODY:
            step = self._launch_left
        elif self._cpu_task != _NOBODY:
            step = self._cpu_left
        for left, slowdown in zip(self._left, slowdowns, strict=True):
            if left is not None:
                needed = -(-left * slowdown // WHOLE_PPM)
                step = needed if step is None or needed < step else step
        return step

    def _advance(self, step: int, slowdowns: list[int]) -> None:
        self._now += step
        done = []
        for core, left in enumerate(self._left):
            if left is None:
                continue
            left -= step * WHOLE_PPM // slowdowns[core]
            if left <= 0:
                done.append(core)
            self._left[core] = left
        if self._launching != _NOBODY:
            self._launch_left -= step
            if self._launch_left == 0:
                self._launched()
        elif self._cpu_task != _NOBODY:
            self._cpu_left -= step
            if self._cpu_left == 0:
                finished, self._cpu_task = self._cpu_task, _NOBODY
                self._cpu_last = finished
                self._spans.append(Span(finished, 0, self._cpu_since, self._now))
                self._finish(finished)
        ended: dict[int, None] = {}
        for core in done:
            finished, self._held[core] = self._held[core], _NOBODY
            self._left[core] = None
            self._core_last[core] = finished
            self._free += 1
            self._spans.append(Span(finished, 1 + core, self._begun[core], self._now))
            ended[finished] = None
        for finished in ended:
            self._finish(finished)

    def _launched(self) -> None:
        index, self._launching = self._launching, _NOBODY
        self._spans.append(Span(index, 0, self._cpu_since, self._now))
        self._cpu_since = self._now
        self._cpu_last = index
        for core, task in enumerate(self._held):
            if task == index:
                self._left[core] = self._tasks[index].run_ps
                self._begun[core] = self._now
