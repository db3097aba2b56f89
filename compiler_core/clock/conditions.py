"""Whether a machine was its measurer's own: what others took of it while times were made.

A process that wants the CPU and does not get it is interrupted against its will, has less CPU time
than time by the clock, and sees a machine whose cores are busy with others. Each is looked at, and
said where it is beyond what an idle machine shows.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_STAT = Path("/proc/stat")

_MOST_SWITCHES = 20.0
"""Involuntary context switches a second: an idle machine shows a few."""
_LEAST_CPU = 0.95
"""CPU time of one thread as a share of time."""
_MOST_OTHERS = 0.15
"""Cores' worth of work of others, beyond cores that are free."""
_LEAST_TIME_S = 0.05
"""Counters that tick a hundred times a second tell nothing of less."""


@dataclass(frozen=True)
class Reading:
    """Counters of a process and its machine at one moment; ``None`` where there are none.

    Attributes:
        wall_s: Time.
        cpu_s: CPU time of this process.
        switches: Its involuntary context switches.
        busy_s: CPU time of all processes, on all cores; also what the machine's host has taken.
        stolen_s: CPU time that the machine's host has taken.
        load: Runnable processes, mean of the last minute.
    """

    wall_s: float
    cpu_s: float
    switches: int | None = None
    busy_s: float | None = None
    stolen_s: float | None = None
    load: float | None = None


class Clock(Protocol):
    """What times are taken from: the machine's, or what a test has in its place."""

    def now_ns(self) -> int:
        """Nanoseconds since some moment, never fewer than before."""
        ...

    def reading(self) -> Reading:
        """Counters now."""
        ...


_FINE_S = 1e-6


class MachineClock:
    """The clock and counters of this machine."""

    def now_ns(self) -> int:
        return time.perf_counter_ns()

    def reading(self) -> Reading:
        busy, stolen = _busy_and_stolen()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        wall_s = time.perf_counter()
        return Reading(wall_s, time.process_time(), switches, busy, stolen, load)


class ThreadClock(MachineClock):
    """The CPU time of the calling thread: what others take in between does not count."""

    def now_ns(self) -> int:
        return time.thread_time_ns()


def clock_of(threads: int) -> Clock:
    """What tells candidates of so many threads apart: those of one by its CPU time, where the
    system counts that finely."""
    if threads == 1 and time.get_clock_info("thread_time").resolution <= _FINE_S:
        return ThreadClock()
    return MachineClock()


def _busy_and_stolen() -> tuple[float | None, float | None]:
    try:
        words = _STAT.read_text().split("\n", 1)[0].split()
        user, nice, system, _idle, _wait, irq, soft, stolen = map(int, words[1:9])
    except (OSError, ValueError):
        return None, None
    tick = 1.0 / os.sysconf("SC_CLK_TCK")
    return tick * (user + nice + system + irq + soft + stolen), tick * stolen


@dataclass(frozen=True)
class Conditions:
    """How much of a machine a measurement had, from its first repeat to its last.

    Attributes:
        wall_s: It took.
        cpu_share: CPU time of this process a second.
        switches_per_s: Its involuntary context switches; ``None`` where they are not counted.
        others: Cores' worth of work of other processes; ``None`` likewise.
        load: Runnable processes in the minute before; ``None`` likewise.
        threads: That the measured work had.
        cores: Of the machine.
    """

    wall_s: float
    cpu_share: float
    switches_per_s: float | None
    others: float | None
    load: float | None
    threads: int
    cores: int

    @property
    def is_loaded(self) -> bool:
        """Whether others were in the way: times are longer and further apart than they need be."""
        return any(True for _ in self.reasons())

    def reasons(self) -> Iterator[str]:
        """How it shows that others were in the way."""
        if self.wall_s < _LEAST_TIME_S:
            return
        if self.switches_per_s is not None and self.switches_per_s > _MOST_SWITCHES:
            yield f"{self.switches_per_s:.0f} involuntary context switches a second"
        if self.threads == 1 and self.cpu_share < _LEAST_CPU:
            yield f"{100 * self.cpu_share:.0f} % of a core"
        free = max(0, self.cores - self.threads)
        if self.others is not None and self.others > free + _MOST_OTHERS:
            yield f"other processes took {self.others:.1f} of {self.cores} cores"
        if self.load is not None and self.load > self.cores + self.threads:
            yield f"load average {self.load:.1f} on {self.cores} cores"

    @property
    def warning(self) -> str:
        """For people; empty on a machine of one's own."""
        found = ", ".join(self.reasons())
        return f"the machine was loaded while it was measured ({found})" if found else ""


def conditions(before: Reading, after: Reading, threads: int, cores: int) -> Conditions:
    """What happened between two readings.

    Args:
        before, after: Readings.
        threads: That the work in between had.
        cores: Of the machine.
    """
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    switches = others = None
    if before.switches is not None and after.switches is not None:
        switches = (after.switches - before.switches) / wall_s
    if before.busy_s is not None and after.busy_s is not None:
        own = after.cpu_s - before.cpu_s
        others = max(0.0, (after.busy_s - before.busy_s - own) / wall_s)
    share = (after.cpu_s - before.cpu_s) / wall_s
    return Conditions(wall_s, share, switches, others, before.load, threads, cores)
