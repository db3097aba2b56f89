"""A layer cut by output channels over two cores of one port, of which the second has longer vectors
or weights of fewer bits: which channels it computes is their precision.

Both write into one tensor, whose channels lie together by as many as the longer vector has, so that
the border is a multiple of that. Any channels can be on either side: rows of the weights are
permuted before, columns of all readers' weights after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.simulate.multicore import MulticoreResult, time_programs
from compiler_core.units.vta.structure.vectors import in_vectors


@dataclass(frozen=True)
class ChannelCut:
    """A layer over two cores.

    Attributes:
        workload: The whole layer, in channels.
        first: Output channels of the first core; the second has the others.
        residual_shift: Left shift of its residual, where it has one.
    """

    workload: ConvWorkload
    first: int
    residual_shift: int | None = None

    def parts(self, machines: tuple[VtaCore, VtaCore]) -> tuple[ConvWorkload | None, ...]:
        """What each core computes, as it sees it; ``None`` where that is nothing."""
        channels = self.first, self.workload.out_channels - self.first
        found: list[ConvWorkload | None] = []
        for own, machine in zip(channels, machines, strict=True):
            if own == 0:
                found.append(None)
                continue
            part = self.workload if own == self.workload.out_channels else self._of(own)
            seen = in_vectors(part, machine.geometry, self.residual_shift)
            assert isinstance(seen, ConvWorkload)
            found.append(seen)
        return tuple(found)

    def _of(self, channels: int) -> ConvWorkload:
        w = replace(self.workload, out_channels=channels)
        return w if w.groups == 1 else replace(w, in_channels=channels, groups=channels)


def channel_cuts(workload: ConvWorkload, machines: tuple[VtaCore, VtaCore]) -> tuple[int, ...]:
    """Channels that the first core can have, from none to all: only what blocks allow."""
    lanes = max(machine.geometry.lanes for machine in machines)
    ends = (0, workload.out_channels)
    is_depthwise = workload.groups == workload.in_channels == workload.out_channels
    if workload.groups > 1 and not is_depthwise:
        return ends
    return (*range(0, workload.out_channels, lanes), workload.out_channels)


@lru_cache(maxsize=4096)
def bound_cycles(cut: ChannelCut, machines: tuple[VtaCore, VtaCore]) -> int:
    """What no schedules beat: the slower core, or what the port they share moves for both."""
    slowest, reads, writes = 0, 0, 0
    for part, machine in zip(cut.parts(machines), machines, strict=True):
        if part is not None:
            found = lower_bound(part, machine)
            slowest = max(slowest, found.cycles)
            reads, writes = reads + found.reads, writes + found.writes
    return max(slowest, reads, writes)


@lru_cache(maxsize=4096)
def measured_cut(cut: ChannelCut, machines: tuple[VtaCore, VtaCore]) -> MulticoreResult:
    """Untuned programs of both parts, started together on one port.

    Raises:
        InfeasibleError: A part does not fit its core.
    """
    streams, used = [], []
    for part, machine in zip(cut.parts(machines), machines, strict=True):
        if part is not None:
            program = lower_layer(part, default_schedule(part, machine), machine.geometry)
            streams.append(program.lowered.instructions)
            used.append(machine)
    if not streams:
        raise InfeasibleError("a layer without output channels")
    first = used[0]
    return time_programs(streams, first.timing, first.geometry, first.energy, machines=used)
