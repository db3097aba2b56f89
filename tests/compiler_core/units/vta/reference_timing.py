"""Plain timing model of VTA, stepped cycle by cycle: what the compiled simulator must equal.

Every actor is a coroutine that is resumed once per cycle and says with ``yield`` "that was this
cycle". Nothing skips ahead; the port is asked and answers in the cycle in which the hardware would.
Slow on purpose: for programs of some thousand cycles.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import TimingProfile, VtaTiming
from compiler_core.units.vta.machine.isa import INSTRUCTION_DTYPE, MemoryType, Opcode

PRIORITY = ["fetch", "uop", "inp", "wgt", "acc"]
MEMORY_NAMES = {
    MemoryType.UOP: "uop",
    MemoryType.WGT: "wgt",
    MemoryType.INP: "inp",
    MemoryType.ACC: "acc",
    MemoryType.OUT: "out",
}
Steps = Generator[None, None, None]
Row = dict[str, int]


class StuckError(Exception):
    """No FINISH within the allowed number of cycles."""


@dataclass(eq=False)
class Burst:
    """One transfer on its way through the port."""

    reader: str
    beats: int
    elements: int = 0
    raised: int = 0
    done_at: int | None = None
    last_beat: int | None = None


def split(address: int, size: int, cut: int) -> Iterator[tuple[int, int]]:
    """Pieces ``(address, size)`` of a row that end at the multiples of ``cut``."""
    while size:
        piece = min(size, cut - address % cut)
        yield address, piece
        address, size = address + piece, size - piece


class SharedPort:
    """rtl2020: one transfer at a time, reads and writes alike."""

    def __init__(self, timing: VtaTiming) -> None:
        self.timing = timing
        self.requests: list[Burst] = []
        self.granted: tuple[Burst, int] | None = None
        self.store: Burst | None = None
        self.free_at = 0

    def step(self, t: int) -> None:
        if self.granted and self.granted[0].done_at is not None and self.granted[0].done_at <= t:
            self.granted = None
        if self.granted is None and self.requests:
            chosen = min(self.requests, key=lambda burst: PRIORITY.index(burst.reader))
            self.requests.remove(chosen)
            self.granted = chosen, t
        if t < self.free_at:
            return
        if self.granted and self.granted[0].done_at is None and t > self.granted[1]:
            burst = self.granted[0]
            burst.done_at = t + 3 + burst.beats + self.timing.memory_latency_cycles
        elif self.store and self.store.done_at is None and t > self.store.raised:
            burst = self.store
            burst.done_at = t + 2 + burst.elements + burst.beats
        else:
            return
        self.free_at = burst.done_at


class PipelinedPort:
    """rtl-pipelined: read commands are accepted early and served in order."""

    def __init__(self, timing: VtaTiming) -> None:
        self.timing = timing
        self.entered: dict[str, Burst] = {}
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
        for reader in PRIORITY:
            if reader in self.entered and self.entered[reader].raised < t:
                if not self.list:
                    self.not_before = t + 1 + self.timing.memory_latency_cycles
                self.list.append(self.entered.pop(reader))
                return


@dataclass
class Module:
    """A module with its queue; ``held`` includes the executing instruction."""

    queue: deque[tuple[int, int]] = field(default_factory=deque)
    held: int = 0
    index: int = -1
    work: Steps | None = None


POPS = {
    "load": [("pop_next", "c2l")],
    "compute": [("pop_prev", "l2c"), ("pop_next", "s2c")],
    "store": [("pop_prev", "c2s")],
}
PUSHES = {
    "load": [("push_next", "l2c")],
    "compute": [("push_prev", "c2l"), ("push_next", "c2s")],
    "store": [("push_prev", "s2c")],
}


def module_of(row: Row) -> str:
    if row["opcode"] == Opcode.STORE:
        return "store"
    if row["opcode"] == Opcode.LOAD and row["memory_type"] in (MemoryType.INP, MemoryType.WGT):
        return "load"
    return "compute"


class Machine:
    """One core from launch to FINISH."""

    def __init__(self, program: list[Row], timing: VtaTiming) -> None:
        self.program = program
        self.timing = timing
        self.pipelined = timing.profile is TimingProfile.RTL_PIPELINED
        self.shared = SharedPort(timing)
        self.channel = PipelinedPort(timing)
        self.modules = {"load": Module(), "compute": Module(), "store": Module()}
        self.tokens = dict.fromkeys(("l2c", "c2l", "c2s", "s2c"), 0)
        self.t = 0
        self.finish: int | None = None
        self.starts = [-1] * len(program)
        self.ends = [-1] * len(program)
        self.bursts: Counter[str] = Counter()
        self.beats: Counter[str] = Counter()

    def run(self, limit: int) -> int:
        fetch = self.fetch()
        while self.finish is None:
            if self.t > limit:
                raise StuckError
            for name, module in self.modules.items():
                if module.work is not None and self.ended(module.work):
                    self.complete(name, module)
            next(fetch, None)
            for name, module in self.modules.items():
                if module.work is None and module.queue:
                    self.try_start(name, module)
            if self.pipelined:
                self.channel.step(self.t)
            else:
                self.shared.step(self.t)
            self.t += 1
        return self.finish

    @staticmethod
    def ended(work: Steps) -> bool:
        try:
            next(work)
        except StopIteration:
            return True
        return False

    def complete(self, name: str, module: Module) -> None:
        row = self.program[module.index]
        self.ends[module.index] = self.t
        module.work = None
        module.held -= 1
        for flag, counter in PUSHES[name]:
            if row[flag]:
                self.tokens[counter] = min(255, self.tokens[counter] + 1)

    def try_start(self, name: str, module: Module) -> None:
        index, visible = module.queue[0]
        row = self.program[index]
        counters = [counter for flag, counter in POPS[name] if row[flag]]
        if visible > self.t or not all(self.tokens[counter] for counter in counters):
            return
        for counter in counters:
            self.tokens[counter] -= 1
        module.queue.popleft()
        module.index = index
        self.starts[index] = self.t
        if row["opcode"] == Opcode.FINISH:
            self.finish = self.ends[index] = self.t + self.timing.costs.finish
            return
        module.work = self.execute(row)
        next(module.work)

    def fetch(self) -> Steps:
        timing = self.timing
        batch = timing.fetch_batch_instructions
        for first in range(0, len(self.program), batch):
            instructions = self.program[first : first + batch]
            beats = ceil(16 * len(instructions) / timing.port_bytes)
            pieces = [piece for _, piece in split(0, beats, timing.burst_beats)]
            yield from self.read("fetch", pieces, tail=2)
            for index, row in enumerate(instructions, first):
                module = self.modules[module_of(row)]
                while module.held >= timing.queue_depth:
                    yield
                module.held += 1
                module.queue.append((index, self.t + 1))
                yield
            yield

    def read(self, reader: str, beats: list[int], tail: int) -> Steps:
        """Reads bursts one after another; returns in the cycle in which the reader goes on."""
        for count in beats:
            burst = self.burst(reader, count)
            if self.pipelined:
                self.channel.entered[reader] = burst
                while reader in self.channel.entered:
                    yield
            else:
                self.shared.requests.append(burst)
                while burst.done_at is None or self.t < burst.done_at:
                    yield
        while self.pipelined and (burst.last_beat is None or self.t < burst.last_beat + tail):
            yield

    def burst(self, reader: str, beats: int, elements: int = 0) -> Burst:
        self.bursts[reader] += 1
        self.beats[reader] += beats
        return Burst(reader, beats, elements, raised=self.t)

    def execute(self, row: Row) -> Steps:
        """Yields once for every cycle from the start on; ends in the first idle cycle."""
        costs = self.timing.costs
        if row["opcode"] in (Opcode.LOAD, Opcode.STORE):
            if row["x_size"] == 0 or row["y_size"] == 0:
                return wait(costs.no_operation)
            if row["opcode"] == Opcode.STORE:
                return self.store(row)
            if row["memory_type"] == MemoryType.UOP:
                return self.load_micro_ops(row)
            return self.load_pipelined(row) if self.pipelined else self.load_in_sequence(row)
        if row["opcode"] == Opcode.GEMM:
            cost = costs.gemm_reset if row["reset"] else costs.gemm
        else:
            cost = costs.alu_immediate if row["use_imm"] else costs.alu_tensor
        executions = row["iter_out"] * row["iter_in"] * (row["uop_end"] - row["uop_begin"])
        return wait(cost.per_micro_op * executions + cost.fixed)

    def rows(self, row: Row, element_bytes: int) -> list[list[tuple[int, int]]]:
        """Bytes of each row's bursts with their addresses."""
        cut = min(
            self.timing.burst_boundary_bytes, self.timing.burst_beats * self.timing.port_bytes
        )
        base, stride = row["dram_base"], row["x_stride"]
        return [
            list(split((base + y * stride) * element_bytes, row["x_size"] * element_bytes, cut))
            for y in range(row["y_size"])
        ]

    def words(self, address: int, size: int) -> int:
        """Port words that a byte range touches."""
        port = self.timing.port_bytes
        return len({byte // port for byte in range(address, address + size)})

    def load_micro_ops(self, row: Row) -> Steps:
        timing = self.timing
        if self.pipelined:
            pieces = [p for pieces in self.rows(row, timing.element_bytes.uop) for p in pieces]
            beats = [self.words(*piece) for piece in pieces]
        else:
            per_beat = timing.port_bytes // timing.element_bytes.uop
            total = ceil(row["x_size"] / per_beat) + (row["sram_base"] % per_beat != 0)
            beats = [n for _, n in split(0, total, timing.burst_beats)] * row["y_size"]
        yield
        yield from self.read("uop", beats, tail=3)

    def load_in_sequence(self, row: Row) -> Steps:
        """rtl2020: padding and data take turns."""
        name = MEMORY_NAMES[MemoryType(row["memory_type"])]
        element_bytes = getattr(self.timing.element_bytes, name)
        element_beats = ceil(element_bytes / self.timing.port_bytes)
        width = row["x_pad_0"] + row["x_size"] + row["x_pad_1"]
        yield
        yield from wait(row["y_pad_0"] * width * element_beats)
        for pieces in self.rows(row, element_bytes):
            yield from wait(row["x_pad_0"] * element_beats)
            yield from self.read(name, [self.words(*piece) for piece in pieces], tail=0)
            yield from wait(row["x_pad_1"] * element_beats)
        yield from wait(row["y_pad_1"] * width * element_beats)

    def load_pipelined(self, row: Row) -> Steps:
        """rtl-pipelined: padding is written in the cycles that data leaves free."""
        name = MEMORY_NAMES[MemoryType(row["memory_type"])]
        element_bytes = getattr(self.timing.element_bytes, name)
        width = row["x_pad_0"] + row["x_size"] + row["x_pad_1"]
        padding = (row["y_pad_0"] + row["y_pad_1"]) * width
        padding += row["y_size"] * (row["x_pad_0"] + row["x_pad_1"])
        if row["y_pad_1"] and row["x_pad_0"] + row["x_pad_1"] == 0:
            padding += row["y_size"]
        to_enter = deque(
            self.words(*piece) for pieces in self.rows(row, element_bytes) for piece in pieces
        )
        bursts: list[Burst] = []
        start = self.t
        last_padding = start
        while True:
            may_enter = self.t >= start + 1 + row["y_pad_0"] and name not in self.channel.entered
            if to_enter and may_enter:
                bursts.append(self.burst(name, to_enter.popleft()))
                self.channel.entered[name] = bursts[-1]
            writing = any(
                burst.last_beat is not None
                and burst.last_beat - burst.beats < self.t - 2 <= burst.last_beat
                for burst in bursts
            )
            if padding and self.t >= start + 2 and not writing:
                padding -= 1
                last_padding = self.t
            if not to_enter and not padding:
                data_end = bursts[-1].last_beat
                if data_end is not None and self.t >= max(data_end + 4, last_padding + 2):
                    return
            yield

    def store(self, row: Row) -> Steps:
        element_bytes = self.timing.element_bytes.out
        element_beats = ceil(element_bytes / self.timing.port_bytes)
        yield
        for pieces in self.rows(row, element_bytes):
            for _, size in pieces:
                elements = size // element_bytes
                burst = self.burst("out", elements * element_beats, elements)
                if self.pipelined:
                    yield from wait(3 + elements * (element_beats + 1))
                else:
                    self.shared.store = burst
                    while burst.done_at is None or self.t < burst.done_at:
                        yield


def wait(cycles: int) -> Steps:
    for _ in range(cycles):
        yield


@dataclass(frozen=True)
class ReferenceResult:
    """Cycles from launch to FINISH, per instruction start and end, traffic by memory name."""

    cycles: int
    starts: list[int]
    ends: list[int]
    bursts: dict[str, int]
    beats: dict[str, int]


def reference_timing(
    decoded: npt.NDArray[np.void], timing: VtaTiming, limit: int = 10**6
) -> ReferenceResult:
    """Steps a program; raises :class:`StuckError` after ``limit`` cycles."""
    names = INSTRUCTION_DTYPE.names or ()
    program = [dict(zip(names, (int(v) for v in row), strict=True)) for row in decoded.tolist()]
    machine = Machine(program, timing)
    cycles = machine.run(limit)
    return ReferenceResult(
        cycles, machine.starts, machine.ends, dict(machine.bursts), dict(machine.beats)
    )
