"""Plain timing model of several cores on one port, stepped cycle by cycle.

The cores are those of the single-core reference; a port of its own stands between them and memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import TimingProfile, VtaTiming
from compiler_core.units.vta.machine.isa import INSTRUCTION_DTYPE
from tests.compiler_core.units.vta.reference_timing import (
    PRIORITY,
    Burst,
    Machine,
    Row,
    Steps,
    StuckError,
    split,
)


class Core(Machine):
    """A core whose pipelined STOREs ask for the write channel, too."""

    def store(self, row: Row) -> Steps:
        if not self.pipelined:
            yield from super().store(row)
            return
        element_bytes = self.timing.element_bytes.out
        cut = min(
            self.timing.burst_boundary_bytes, self.timing.burst_beats * self.timing.port_bytes
        )
        element_beats = ceil(element_bytes / self.timing.port_bytes)
        yield
        for y in range(row["y_size"]):
            first = (row["dram_base"] + y * row["x_stride"]) * element_bytes
            for address, size in split(first, row["x_size"] * element_bytes, cut):
                # An element belongs to the burst in which it ends.
                elements = (address + size) // element_bytes - address // element_bytes
                burst = self.burst("out", elements * element_beats, elements)
                self.shared.store = burst
                while burst.done_at is None or self.t < burst.done_at:
                    yield

    def step(self) -> None:
        """One cycle without its port."""
        for name, module in self.modules.items():
            if module.work is not None and self.ended(module.work):
                self.complete(name, module)
        next(self.fetching, None)
        for name, module in self.modules.items():
            if module.work is None and module.queue:
                self.try_start(name, module)

    def launch(self) -> None:
        self.fetching = self.fetch()


class Turn:
    """Round-robin between cores."""

    def __init__(self, cores: int) -> None:
        self.order = deque(range(cores))

    def choose(self, asking: list[bool]) -> int | None:
        """The first core in turn that asks; it goes to the end of the line, with those before."""
        for place, core in enumerate(self.order):
            if asking[core]:
                self.order.rotate(-place - 1)
                return core
        return None


class ReadChannel:
    """rtl-pipelined: one list of accepted commands for all cores."""

    def __init__(self, cores: list[Core], timing: VtaTiming) -> None:
        self.cores, self.timing = cores, timing
        self.turn = Turn(len(cores))
        self.list: deque[Burst] = deque()
        self.served: Burst | None = None
        self.not_before = 0

    def step(self, t: int) -> None:
        if self.served and self.served.last_beat is not None and self.served.last_beat < t:
            self.served = None
        last_beat_now = self.served is not None and self.served.last_beat == t
        if self.list and self.served is None and t >= self.not_before:
            self.served = self.list.popleft()
            self.served.last_beat = t + self.served.beats
        outstanding = len(self.list) + (self.served is not None)
        if outstanding >= self.timing.outstanding_bursts or last_beat_now:
            return
        entered = [
            [b for b in core.channel.entered.values() if b.raised < t and core.finish is None]
            for core in self.cores
        ]
        core = self.turn.choose([bool(bursts) for bursts in entered])
        if core is None:
            return
        burst = min(entered[core], key=lambda b: PRIORITY.index(b.reader))
        if not self.list:
            self.not_before = t + 1 + self.timing.memory_latency_cycles
        self.list.append(self.cores[core].channel.entered.pop(burst.reader))


class WriteChannel:
    """rtl-pipelined: one burst of one core at a time."""

    def __init__(self, cores: list[Core], timing: VtaTiming) -> None:
        self.cores = cores
        self.turn = Turn(len(cores))
        self.port_bytes = timing.port_bytes
        self.free_at = 0

    def step(self, t: int) -> None:
        if t < self.free_at:
            return
        pending = [
            core.shared.store if core.finish is None else None  # a finished core asks no more
            for core in self.cores
        ]
        core = self.turn.choose([b is not None and b.done_at is None for b in pending])
        if core is None:
            return
        burst = pending[core]
        assert burst is not None
        beats = ceil(self.cores[core].timing.element_bytes.out / self.port_bytes)
        self.free_at = burst.done_at = t + 3 + burst.elements * (beats + 1)


class SequentialPort:
    """rtl2020: one transfer at a time for all cores; each core grants its own readers."""

    def __init__(self, cores: list[Core], timing: VtaTiming) -> None:
        self.cores, self.timing = cores, timing
        self.turn = Turn(len(cores))
        self.free_at = 0

    def step(self, t: int) -> None:
        reads: list[Burst | None] = []
        writes: list[Burst | None] = []
        for core in self.cores:
            own = core.shared
            if own.granted and own.granted[0].done_at is not None and own.granted[0].done_at <= t:
                own.granted = None
            if own.granted is None and own.requests:
                chosen = min(own.requests, key=lambda burst: PRIORITY.index(burst.reader))
                own.requests.remove(chosen)
                own.granted = chosen, t
            asks = own.granted and own.granted[0].done_at is None and t > own.granted[1]
            reads.append(own.granted[0] if asks and own.granted and core.finish is None else None)
            stores = own.store and own.store.done_at is None and t > own.store.raised
            writes.append(own.store if stores and core.finish is None else None)
        if t < self.free_at:
            return
        chosen_core = self.turn.choose(
            [
                read is not None or write is not None
                for read, write in zip(reads, writes, strict=True)
            ]
        )
        if chosen_core is None:
            return
        burst = reads[chosen_core]
        if burst is not None:
            burst.done_at = t + 3 + burst.beats + self.timing.memory_latency_cycles
        else:
            burst = writes[chosen_core]
            assert burst is not None
            burst.done_at = t + 2 + burst.elements + burst.beats
        self.free_at = burst.done_at


@dataclass(frozen=True)
class ReferenceRun:
    """Per core: cycle of its FINISH, start and end of its instructions."""

    cycles: list[int]
    starts: list[list[int]]
    ends: list[list[int]]


def reference_programs(
    programs: list[npt.NDArray[np.void]],
    timing: VtaTiming,
    limit: int = 10**6,
    launches: Sequence[int] | None = None,
    timings: Sequence[VtaTiming] | None = None,
) -> ReferenceRun:
    """Steps all programs, each by the ``timings`` of its core.

    Raises :class:`StuckError` after ``limit`` cycles.
    """
    names = INSTRUCTION_DTYPE.names or ()
    cores = []
    for decoded, own in zip(programs, timings or [timing] * len(programs), strict=True):
        rows = [dict(zip(names, (int(v) for v in row), strict=True)) for row in decoded.tolist()]
        cores.append(Core(rows, own))
        cores[-1].launch()
    ports: list[ReadChannel | WriteChannel | SequentialPort]
    if timing.profile is TimingProfile.RTL_PIPELINED:
        ports = [ReadChannel(cores, timing), WriteChannel(cores, timing)]
    else:
        ports = [SequentialPort(cores, timing)]
    t = 0
    while any(core.finish is None for core in cores):
        if t > limit:
            raise StuckError
        for core, launch in zip(cores, launches or [0] * len(cores), strict=True):
            core.t = t
            if core.finish is None and t >= launch:
                core.step()
        for port in ports:
            port.step(t)
        t += 1
    return ReferenceRun(
        [core.finish or 0 for core in cores],
        [core.starts for core in cores],
        [core.ends for core in cores],
    )
