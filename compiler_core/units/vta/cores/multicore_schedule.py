"""How one operator is best shared by several cores without tuning: axis, schedules and bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.cores.multicore_layer import measure_sliced
from compiler_core.units.vta.legality.bound import Bound, lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.simulate.multicore import MulticoreResult
from compiler_core.units.vta.structure.slicing import (
    Slice,
    SliceAxis,
    slice_violations,
    slice_workload,
)


def default_slice_schedules(
    slices: Sequence[Slice], core: VtaCore, port_share: int = 1
) -> tuple[Schedule, ...]:
    """The untuned schedule of every slice.

    Args:
        slices: Slices of one operator.
        core: One of the cores, with the port that they share.
        port_share: Into how many parts the estimate divides the port's width: 1 plans as if a core
            had it alone, the number of cores as if all asked all the time.

    Raises:
        InfeasibleError: Not even the smallest tiles of a slice fit.
    """
    timing = replace(core.timing, port_bytes=max(1, core.timing.port_bytes // port_share))
    planned = replace(core, timing=timing)
    return tuple(default_schedule(part.workload, planned) for part in slices)


@dataclass(frozen=True)
class Slicing:
    """A way to run one operator on several cores, and what it takes.

    Attributes:
        axis: Along which axis it is cut.
        slices, schedules: Per core.
        result: The measured run.
    """

    axis: SliceAxis
    slices: tuple[Slice, ...]
    schedules: tuple[Schedule, ...]
    result: MulticoreResult


@lru_cache(maxsize=1024)
def default_slicings(workload: Workload, core: VtaCore, cores: int) -> Mapping[SliceAxis, Slicing]:
    """The fastest untuned slicing along each axis that the operator can be cut along: schedules are
    planned for the whole port, half of it and a core's share, and measured."""
    found: dict[SliceAxis, Slicing] = {}
    for axis in SliceAxis:
        if slice_violations(workload, cores, axis):
            continue
        slices = slice_workload(workload, cores, axis)
        choices = {default_slice_schedules(slices, core, share) for share in {1, 2, cores}}
        for schedules in sorted(choices, key=lambda choice: [s.digest for s in choice]):
            result = measure_sliced(workload, schedules, core, cores, axis)
            if axis not in found or result.cycles < found[axis].result.cycles:
                found[axis] = Slicing(axis, slices, schedules, result)
    return MappingProxyType(found)


def sliced_bound(slices: Sequence[Slice], core: VtaCore) -> Bound:
    """The lower bound of an operator that is sliced this way.

    Every core computes its slice, so the largest compute part counts; they all use one port, which
    moves what each of them has to read or write at least once.
    """
    bounds = [lower_bound(part.workload, core) for part in slices]
    return Bound(
        max(bound.compute for bound in bounds),
        sum(bound.reads for bound in bounds),
        sum(bound.writes for bound in bounds),
    )
