"""Event simulation of a system: one CPU, units with cores, memories that they share, and jobs.

Times are integers in picoseconds, so that equal inputs give equal timelines on any machine.

- The CPU runs one job at a time, to its end, the one of highest priority first.
- A launch is an interrupt to it: whatever the CPU runs pauses for ``overhead_ps``. The core is
  taken from the beginning of the launch to the end of the program; it has no queue of launches.
- Programs that run at the same time share the memories in which they work. A program alone keeps
  the read channel busy for the share ``r`` of its time (``read_ppm``) and the write channel for
  ``w``. Beside others in that memory it slows down by the largest of ``1 + r * (sum of the others'
  r) + w * (sum of the others' w)`` (transfers wait where they meet) and the sum of all ``r`` and of
  all ``w`` (a channel is full). A test holds this to the cycle-exact timing of several cores.
- An operator that is cut takes all cores of its unit; its time on them is measured with their port
  shared.
- A unit that works in its memory alone begins when no other unit, and no job of the CPU that reads
  or writes there, is under way; until its program ends, none of them begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from compiler_core.system.jobs import (
    ALL_CORES,
    ANY_CORE,
    NOWHERE,
    ON_HOST,
    ONE_CORE,
    WHOLE_PPM,
    Job,
    Machinery,
)

_NOBODY = -1


class TimelineSpan(NamedTuple):
    """A stretch of a job on a track: 0 is the CPU, ``1 + core`` a core, counted over all units."""

    job: int
    track: int
    start_ps: int
    end_ps: int


@dataclass(frozen=True)
class Timeline:
    """What a simulation returns; lists are by job.

    Attributes:
        latency_ps: End of the last job.
        start_ps: When the job took its unit.
        end_ps: When it ended.
        core: Core of a program in its unit (:data:`ALL_CORES` if cut), else :data:`ANY_CORE`.
        cause: Job whose end let this one start (the last of those it depends on, or the one that
            held its unit or memory; a launch holds the CPU), -1 for those that start at once.
        spans: In order of their ends; a paused CPU job has several.
    """

    latency_ps: int
    start_ps: tuple[int, ...]
    end_ps: tuple[int, ...]
    core: tuple[int, ...]
    cause: tuple[int, ...]
    spans: tuple[TimelineSpan, ...]

    def critical_path(self) -> tuple[int, ...]:
        """Jobs from the start to the end of the timeline, each the cause of the next one."""
        if not self.end_ps:
            return ()
        job = max(range(len(self.end_ps)), key=lambda t: (self.end_ps[t], -t))
        path = []
        while job != _NOBODY:
            path.append(job)
            job = self.cause[job]
        return tuple(reversed(path))


def simulate(
    jobs: Sequence[Job], priorities: Sequence[int], machinery: Machinery = ONE_CORE
) -> Timeline:
    """Plays jobs on one CPU and the cores of all units.

    Args:
        jobs: Topologically sorted.
        priorities: Per job; where several wait for a unit, the highest goes first, then what
            stands first in the model, then the lowest index.
        machinery: Units and memories.

    Raises:
        ValueError: A job depends on itself or a later one, or is bound to a unit or core that is
            not there.
    """
    return _Simulation(jobs, priorities, machinery).run()


class _Simulation:
    def __init__(
        self, jobs: Sequence[Job], priorities: Sequence[int], machinery: Machinery
    ) -> None:
        count, cores = len(jobs), sum(machinery.cores)
        self._jobs, self._priorities, self._machinery = jobs, priorities, machinery
        self._first = machinery.first_cores
        self._waiting = [len(job.after) for job in jobs]
        self._followers: list[list[int]] = [[] for _ in jobs]
        self._check()
        self._now = 0
        self._ready_at, self._start, self._end = [0] * count, [0] * count, [0] * count
        self._core, self._cause = [ANY_CORE] * count, [_NOBODY] * count
        self._last_source = [_NOBODY] * count
        self._host_ready: list[tuple[int, int, int]] = []
        self._unit_ready: list[tuple[int, int, int]] = []
        self._launches: list[tuple[int, int, int]] = []
        self._host_job, self._host_left, self._host_since, self._host_last = _NOBODY, 0, 0, _NOBODY
        self._host_freed = -1
        self._launching, self._launch_left = _NOBODY, 0
        # Job that holds each core, and what is left of its program; None before that has begun.
        self._held = [_NOBODY] * cores
        self._left: list[int | None] = [None] * cores
        self._begun = [0] * cores
        self._core_last = [_NOBODY] * cores
        self._free = cores
        self._spans: list[TimelineSpan] = []
        # Only where a unit works alone in a memory is it kept who uses which.
        self._is_guarded = any(machinery.exclusive)
        self._memory_last: dict[int, int] = {}

    def _check(self) -> None:
        cores = self._machinery.cores
        for index, job in enumerate(self._jobs):
            for before in job.after:
                if not 0 <= before < index:
                    raise ValueError(f"job {index} is after job {before}")
                self._followers[before].append(index)
            if not NOWHERE <= job.unit < len(cores):
                raise ValueError(f"job {index} is bound to unit {job.unit} of {len(cores)}")
            own = cores[job.unit] if job.unit >= 0 else 0
            if not ALL_CORES <= job.core < max(own, job.unit < 0):
                raise ValueError(f"job {index} is bound to core {job.core} of {own}")
            if job.unit >= 0 and not own:
                raise ValueError(f"job {index} is bound to unit {job.unit}, which has no cores")

    def run(self) -> Timeline:
        for index, waiting in enumerate(self._waiting):
            if waiting == 0 and not self._jobs[index].after:
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
        job = self._jobs[index]
        if job.unit == NOWHERE:
            self._start[index] = self._now
            self._cause[index] = self._last_source[index]
            self._finish(index)
            return
        queue = self._host_ready if job.unit == ON_HOST else self._unit_ready
        heappush(queue, (-self._priorities[index], job.position, index))

    def _finish(self, index: int) -> None:
        self._end[index] = self._now
        for follower in self._followers[index]:
            self._waiting[follower] -= 1
            self._last_source[follower] = index
            if self._waiting[follower] == 0:
                self._release(follower)

    def _begin(self, index: int, holders: list[int], freed_ps: int | None = None) -> None:
        """Notes the start of a job.

        Args:
            index: The job.
            holders: Those that had its cores or the CPU last; the one that ended last counts.
            freed_ps: When the CPU was left, which a launch does before it ends.
        """
        self._start[index] = self._now
        if self._ready_at[index] == self._now:
            self._cause[index] = self._last_source[index]
            return
        cause = max(holders, key=self._ended)
        if self._is_guarded:
            last = max(self._memory_holders(index), key=self._ended, default=_NOBODY)
            if self._ended(last) > (self._ended(cause) if freed_ps is None else freed_ps):
                cause = last
        self._cause[index] = cause

    def _ended(self, index: int) -> int:
        return self._end[index] if index >= 0 else -1

    def _dispatch(self) -> None:
        if self._free and self._unit_ready:
            self._take_cores()
        if self._launching == _NOBODY and self._launches:
            if self._host_job != _NOBODY and self._now > self._host_since:
                self._spans.append(TimelineSpan(self._host_job, 0, self._host_since, self._now))
            self._launching = heappop(self._launches)[-1]
            self._launch_left = self._jobs[self._launching].overhead_ps
            self._host_since = self._now
        if self._launching == _NOBODY and self._host_job == _NOBODY and self._host_ready:
            self._take_host()

    def _take_host(self) -> None:
        kept = []
        while self._host_ready:
            entry = heappop(self._host_ready)
            index = entry[-1]
            if self._is_guarded and not self._may_use(index):
                kept.append(entry)
                continue
            self._host_job = index
            self._host_left = self._jobs[index].run_ps
            self._host_since = self._now
            self._begin(index, [self._host_last], self._host_freed)
            break
        for entry in kept:
            heappush(self._host_ready, entry)

    def _take_cores(self) -> None:
        kept = []
        while self._free and self._unit_ready:
            entry = heappop(self._unit_ready)
            index = entry[-1]
            cores = self._wanted(self._jobs[index])
            if any(self._held[core] != _NOBODY for core in cores) or (
                self._is_guarded and not self._may_use(index)
            ):
                kept.append(entry)
                continue
            for core in cores:
                self._held[core] = index
                self._left[core] = None
            self._free -= len(cores)
            job = self._jobs[index]
            cut = job.core == ALL_CORES
            self._core[index] = ALL_CORES if cut else cores[0] - self._first[job.unit]
            # Of the cores that it waited for, the one that was taken last.
            self._begin(index, [self._core_last[core] for core in cores])
            heappush(self._launches, entry)
        for entry in kept:
            heappush(self._unit_ready, entry)

    def _wanted(self, job: Job) -> range:
        """Cores that a program takes, among all; the first of its unit where none is free."""
        first, count = self._first[job.unit], self._machinery.cores[job.unit]
        if job.core == ALL_CORES:
            return range(first, first + count)
        core = first + job.core
        if job.core == ANY_CORE:
            free = (at for at in range(first, first + count) if self._held[at] == _NOBODY)
            core = next(free, first)
        return range(core, core + 1)

    def _may_use(self, index: int) -> bool:
        """Whether nobody who works alone in a memory of a job, and nobody else if it does so
        itself, is under way there."""
        job = self._jobs[index]
        alone = job.unit >= 0 and self._machinery.exclusive[job.unit]
        for other in self._users():
            if not self._jobs[other].memories & job.memories:
                continue
            unit = self._jobs[other].unit
            if unit != job.unit and (alone or (unit >= 0 and self._machinery.exclusive[unit])):
                return False
        return True

    def _users(self) -> Iterable[int]:
        """Jobs that are under way."""
        if self._host_job != _NOBODY:
            yield self._host_job
        yield from dict.fromkeys(job for job in self._held if job != _NOBODY)

    def _memory_holders(self, index: int) -> list[int]:
        """The job that last ended in each memory of a job."""
        memories = self._jobs[index].memories
        return [job for memory, job in self._memory_last.items() if memories >> memory & 1]

    def _slowdowns(self) -> list[int]:
        """By how much the program on each core slows down, in millionths."""
        whole = [WHOLE_PPM] * len(self._held)
        if len(whole) == 1:
            return whole
        running: dict[int, list[int]] = {}
        for core, (index, left) in enumerate(zip(self._held, self._left, strict=True)):
            if left is not None:
                running.setdefault(index, []).append(core)
        if len(running) < 2:
            return whole
        for memory in set(self._machinery.memory):
            inside = [
                index
                for index in running
                if self._machinery.memory[self._jobs[index].unit] == memory
            ]
            reads = sum(self._jobs[index].read_ppm for index in inside)
            writes = sum(self._jobs[index].write_ppm for index in inside)
            full = max(WHOLE_PPM, reads, writes)
            for index in inside:
                read, write = self._jobs[index].read_ppm, self._jobs[index].write_ppm
                meetings = (read * (reads - read) + write * (writes - write)) // WHOLE_PPM
                for core in running[index]:
                    whole[core] = max(full, WHOLE_PPM + meetings)
        return whole

    def _next_event(self, slowdowns: list[int]) -> int | None:
        step: int | None = None
        if self._launching != _NOBODY:
            step = self._launch_left
        elif self._host_job != _NOBODY:
            step = self._host_left
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
        elif self._host_job != _NOBODY:
            self._host_left -= step
            if self._host_left == 0:
                finished, self._host_job = self._host_job, _NOBODY
                self._host_last, self._host_freed = finished, self._now
                self._spans.append(TimelineSpan(finished, 0, self._host_since, self._now))
                self._leave(finished)
                self._finish(finished)
        ended: dict[int, None] = {}
        for core in done:
            finished, self._held[core] = self._held[core], _NOBODY
            self._left[core] = None
            self._core_last[core] = finished
            self._free += 1
            self._spans.append(TimelineSpan(finished, 1 + core, self._begun[core], self._now))
            ended[finished] = None
        for finished in ended:
            self._leave(finished)
            self._finish(finished)

    def _leave(self, index: int) -> None:
        if self._is_guarded:
            self._end[index] = self._now
            for memory in range(self._jobs[index].memories.bit_length()):
                if self._jobs[index].memories >> memory & 1:
                    self._memory_last[memory] = index

    def _launched(self) -> None:
        index, self._launching = self._launching, _NOBODY
        self._spans.append(TimelineSpan(index, 0, self._host_since, self._now))
        self._host_since = self._now
        self._host_last, self._host_freed = index, self._now
        for core, job in enumerate(self._held):
            if job == index:
                self._left[core] = self._jobs[index].run_ps
                self._begun[core] = self._now
