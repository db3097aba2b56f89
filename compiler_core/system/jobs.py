"""Jobs, the stretches of work of a system's timeline, and the units and memories that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from compiler_core.targets.places import ON_HOST
from compiler_core.targets.target import Access, Target
from compiler_core.units.ways import ALL_CORES, ANY_CORE

__all__ = ["ALL_CORES", "ANY_CORE", "ON_HOST", "Job", "JobKind", "Machinery", "ranks"]

WHOLE_PPM = 1_000_000
PICOSECONDS = 10**12
"""Per second."""

_PICOSECONDS_PER_MILLISECOND = 10**9

NOWHERE = -2
"""Unit of a job that takes no time."""


class JobKind(IntEnum):
    """What a job does."""

    OPERATOR = 0
    PROGRAM = 1
    QUANTIZE = 2
    DEQUANTIZE = 3
    JOIN = 4
    """A concatenation in place: its producers have written into it."""
    CONVERT = 5
    """A tensor from the form of one unit to that of another."""

    @property
    def converts(self) -> bool:
        """Whether it brings a tensor into another form."""
        return self in (JobKind.QUANTIZE, JobKind.DEQUANTIZE, JobKind.CONVERT)


class Job(NamedTuple):
    """A stretch of work of one unit.

    Attributes:
        subject: Index of the group, or of the tensor for conversions.
        kind: What it does.
        unit: Where: :data:`ON_HOST`, index of a unit, or :data:`NOWHERE`.
        run_ps: Time on the CPU, or of the program on its core.
        overhead_ps: CPU time of the launch.
        after: Indices of the jobs that have to end first; all smaller than its own.
        core: Core that it is bound to, :data:`ANY_CORE`, or :data:`ALL_CORES` if it is cut.
        read_ppm, write_ppm: Demand of a program on the channels of its unit's memory, as a share of
            its time in millionths.
        position: Where it stands in the model; see :mod:`compiler_core.system.positions`.
        memories: What it reads and writes, as a bit per memory.
        form: Into which a conversion brings its tensor.
    """

    subject: int
    kind: JobKind
    unit: int
    run_ps: int
    overhead_ps: int
    after: tuple[int, ...]
    core: int = ANY_CORE
    read_ppm: int = 0
    write_ppm: int = 0
    position: int = 0
    memories: int = 1
    form: int = 0


@dataclass(frozen=True)
class Machinery:
    """What jobs need, beside one CPU.

    Attributes:
        cores: Of each unit.
        memory: Of each unit: index of the memory in which it works.
        exclusive: Of each unit: whether it works there alone.
        host_memory: Index of the memory in which the CPU works.
    """

    cores: tuple[int, ...] = (1,)
    memory: tuple[int, ...] = (0,)
    exclusive: tuple[bool, ...] = (False,)
    host_memory: int = 0

    @classmethod
    def alike(cls, cores: int) -> Machinery:
        """Cores of one unit that share the only memory with the CPU."""
        return cls((cores,))

    @classmethod
    def of(cls, target: Target) -> Machinery:
        """Units and memories of a target; those without cores, too."""
        at = {memory.name: index for index, memory in enumerate(target.memories)}
        return cls(
            tuple(unit.cores for unit in target.units),
            tuple(at[unit.memory] for unit in target.units),
            tuple(unit.access is Access.EXCLUSIVE for unit in target.units),
            at[target.cpu_memory],
        )

    @cached_property
    def first_cores(self) -> tuple[int, ...]:
        """Number of each unit's first core among all."""
        return tuple(sum(self.cores[:unit]) for unit in range(len(self.cores)))


ONE_CORE = Machinery.alike(1)


def picoseconds(milliseconds: float) -> int:
    """A time of a report as one of timelines; plans and packages round by this alone."""
    return round(milliseconds * _PICOSECONDS_PER_MILLISECOND)


def ranks(jobs: Sequence[Job]) -> list[int]:
    """Longest way from the start of each job to the end, in picoseconds: the default priority.

    Source: Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
    heterogeneous computing", 2002 (upward rank).
    """
    tails = [0] * len(jobs)
    for index in range(len(jobs) - 1, -1, -1):
        job = jobs[index]
        tails[index] += job.run_ps + job.overhead_ps
        for before in job.after:
            tails[before] = max(tails[before], tails[index])
    return tails
