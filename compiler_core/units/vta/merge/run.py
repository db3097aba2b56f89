"""What each layer of a merged program takes of it: shares that add up to the whole.

A layer's time is from the end of the last STORE of the layer before (the launch, for the first) to
the end of its own; the last one's ends with FINISH. What a layer loads ahead while the one before
still computes so takes no time of its own, and a layer can take less than it would alone with the
whole machine to itself. Bytes and energy are those of its own instructions, waits those of its
instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.recent import Recent
from compiler_core.sums import float_sum
from compiler_core.units.vta.lower.draft import encoded
from compiler_core.units.vta.lower.tokens import BareInstruction, finished
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import COMMON_FIELDS, Opcode, as_words, decode
from compiler_core.units.vta.simulate.alike import timed_words
from compiler_core.units.vta.simulate.timing import route_program, time_program
from compiler_core.units.vta.simulate.timing_result import Actor, TimingResult

_TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")
_OPCODES = np.uint64((1 << COMMON_FIELDS["opcode"].width) - 1)
_MODULES = ((Actor.LOAD, "load"), (Actor.COMPUTE, "compute"), (Actor.STORE, "store"))


@dataclass(frozen=True, eq=False)
class MergedRun:
    """The program of several layers.

    Attributes:
        instructions: ``uint8[n, 16]``.
        layers: ``int32[n]``, the layer of each, from 0; FINISH belongs to the last one.
    """

    instructions: npt.NDArray[np.uint8]
    layers: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Layers."""
        return int(self.layers[-1]) + 1

    @cached_property
    def instructions_of(self) -> list[npt.NDArray[np.int64]]:
        """Numbers of the instructions of each layer, in order."""
        order = np.argsort(self.layers, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.layers))[:-1])

    def instruction_count(self, layer: int) -> int:
        """Instructions of one of them."""
        return len(self.instructions_of[layer])


@dataclass(frozen=True)
class RunShare:
    """One layer's part of a run.

    Attributes:
        start_cycle, end_cycle: From the launch; see the module.
        energy_pj: Of its instructions.
        instructions: How many.
        moved_bytes: By memory type.
        stall_cycles: By module and cause.
        read_beats, write_beats: On the memory port.
    """

    start_cycle: int
    end_cycle: int
    energy_pj: float
    instructions: int
    moved_bytes: dict[str, int]
    stall_cycles: dict[str, int]
    read_beats: int
    write_beats: int

    @property
    def cycles(self) -> int:
        """Between both."""
        return self.end_cycle - self.start_cycle


MEMORIES = ("inp", "wgt", "acc", "uop", "out", "fetch")


@lru_cache(maxsize=4)
def timed_run(run: MergedRun, core: VtaCore) -> tuple[TimingResult, tuple[RunShare, ...]]:
    """A run with its trace, and the share of each layer.

    Args:
        run: A verified program.
        core: The machine.
    """
    timing = time_program(run.instructions, core.timing, core.geometry, core.energy, trace=True)
    ends, stalls = _ends(run, timing), _stalls(run, timing)
    costs = _apart(run, core)
    whole = timing.energy_pj or 0.0, timing.traffic.read_beats, timing.traffic.write_beats
    shares: list[RunShare] = []
    for layer, account in enumerate(costs):
        own: list[float] = [*account[1:]]
        if layer == len(costs) - 1:
            # Bursts of fetched instructions hold those of two layers: the last one takes the rest.
            before = [(share.energy_pj, share.read_beats, share.write_beats) for share in shares]
            own = [
                max(0, total - float_sum(taken))
                for total, taken in zip(whole, zip(*before, strict=True), strict=True)
            ]
        energy, reads, writes = own
        start = ends[layer - 1] if layer else 0
        count = run.instruction_count(layer)
        moved = dict(zip(MEMORIES, account.moved, strict=True))
        moved["fetch"] = count * run.instructions.shape[1]
        shares.append(
            RunShare(
                start, ends[layer], energy, count, moved, stalls[layer], int(reads), int(writes)
            )
        )
    return timing, tuple(shares)


def _ends(run: MergedRun, timing: TimingResult) -> list[int]:
    """When the last STORE of each layer has ended; the run, for the last one."""
    trace = timing.trace
    assert trace is not None
    ends = []
    for mine in run.instructions_of[:-1]:
        stores = mine[trace.actor[mine] == Actor.STORE]
        ends.append(int(trace.end_cycle[stores].max()))
    return [*ends, timing.cycles]


class _Account(NamedTuple):
    """What instructions move and take, whenever they run.

    Attributes:
        moved: Bytes by memory.
        energy_pj: Of them.
        read_beats, write_beats: On the memory port.
    """

    moved: tuple[int, ...]
    energy_pj: float
    read_beats: int
    write_beats: int


_KNOWN: Recent[_Account] = Recent(1 << 20)
"""Of layers by their instructions, as many as are held."""
_FLAGS = np.uint64(sum(1 << COMMON_FIELDS[name].low for name in _TOKENS))


def _apart(run: MergedRun, core: VtaCore) -> list[_Account]:
    """Of each layer's instructions, timed without order: what they move and compute does not
    depend on when."""
    words = as_words(run.instructions).copy()
    words[:, 0] &= ~_FLAGS
    alike = timed_words(words.view(np.uint8), core.timing)
    finish = (words[:, 0] & _OPCODES) == int(Opcode.FINISH)
    found = []
    for layer in range(len(run)):
        mine = run.instructions_of[layer]
        mine = mine[~finish[mine]]
        key = core, alike[mine].tobytes()
        account = _KNOWN.get(key)
        if account is None:
            account = _account(words[mine], core)
            _KNOWN.keep(key, account, len(mine))
        found.append(account)
    return found


def _account(words: npt.NDArray[np.uint64], core: VtaCore) -> _Account:
    """Of one layer's instructions, without tokens."""
    modules = route_program(decode(words.view(np.uint8)))[1].tolist()
    steps = [
        BareInstruction(high << 64 | low, module)
        for (low, high), module in zip(words.tolist(), modules, strict=True)
    ]
    apart, empty = _timed(steps, core), _empty(core)
    traffic = apart.traffic
    return _Account(
        tuple(getattr(traffic, name).data_bytes for name in MEMORIES),
        max(0.0, (apart.energy_pj or 0.0) - (empty.energy_pj or 0.0)),
        max(0, traffic.read_beats - empty.traffic.read_beats),
        traffic.write_beats,
    )


@lru_cache(maxsize=64)
def _empty(core: VtaCore) -> TimingResult:
    """Of a program that does nothing."""
    return _timed([], core)


def _timed(steps: list[BareInstruction], core: VtaCore) -> TimingResult:
    return time_program(encoded(finished(steps)), core.timing, core.geometry, core.energy)


def _stalls(run: MergedRun, timing: TimingResult) -> list[dict[str, int]]:
    """Waits of each layer's instructions; those of fetch are of the first one."""
    trace = timing.trace
    assert trace is not None
    found: list[dict[str, int]] = []
    for mine in run.instructions_of:
        own: dict[str, int] = {}
        for actor, name in _MODULES:
            rows = mine[trace.actor[mine] == actor]
            for cause, waits in (
                ("token", trace.token_wait_cycles),
                ("port", trace.port_stall_cycles),
                ("fetch", trace.fetch_wait_cycles),
            ):
                cycles = int(waits[rows].sum())
                if cycles:
                    own[f"{name}_{cause}"] = cycles
        found.append(own)
    for cause, cycles in (
        ("port", timing.fetch.port_stall_cycles),
        ("queue", timing.fetch.queue_stall_cycles),
    ):
        if cycles:
            found[0][f"fetch_{cause}"] = cycles
    return found
