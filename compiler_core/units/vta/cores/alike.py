"""Slices of one operator that are all scheduled alike: legality, default, cost and bound."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.unit import TaskBound, TaskCost
from compiler_core.units.violation import Violation
from compiler_core.units.vta.cores.multicore_layer import measure_sliced
from compiler_core.units.vta.cores.multicore_schedule import default_slice_schedules, sliced_bound
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.machine.hardware import VtaCore, VtaGeometry
from compiler_core.units.vta.schedule.schedule import ConvSchedule, MaxPoolSchedule, Schedule
from compiler_core.units.vta.simulate.multicore import MulticoreResult
from compiler_core.units.vta.structure.conv_structure import blocks, conv_structure
from compiler_core.units.vta.structure.sliced_schedule import SlicedSchedule
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload

MEMORIES = ("inp", "wgt", "acc", "uop", "out", "fetch")
MODULES = ("load", "compute", "store", "fetch")


def fitted(schedule: Schedule, part: Workload) -> Schedule:
    """A schedule with no tile larger than a slice.

    Raises:
        TypeError: It is for another kind of workload, or no schedule in tiles.
    """
    rows, columns = part.out_height, part.out_width
    if isinstance(part, ConvWorkload) and isinstance(schedule, ConvSchedule):
        structure = conv_structure(part)
        return replace(
            schedule,
            tile_height=min(schedule.tile_height, rows),
            tile_width=min(schedule.tile_width, columns),
            tile_out_blocks=min(schedule.tile_out_blocks, structure.run),
            tile_in_blocks=min(
                schedule.tile_in_blocks, 1 if structure.diagonal else structure.reduction
            ),
        )
    if not isinstance(part, ConvWorkload) and isinstance(schedule, MaxPoolSchedule):
        return replace(
            schedule,
            tile_height=min(schedule.tile_height, rows),
            tile_width=min(schedule.tile_width, columns),
            tile_blocks=min(schedule.tile_blocks, blocks(part.channels)),
        )
    raise TypeError(f"{type(schedule).__name__} does not schedule slices of {part.operator}")


def schedules_alike(sliced: SlicedWorkload, schedule: Schedule) -> tuple[Schedule, ...]:
    """The schedule of every slice.

    Raises:
        TypeError: As :func:`fitted`.
    """
    return tuple(fitted(schedule, part.workload) for part in sliced.slices)


def violations_alike(
    sliced: SlicedWorkload, schedule: Schedule, geometry: VtaGeometry
) -> tuple[Violation, ...]:
    """Every rule that a schedule breaks in any slice, and in the largest with its tiles as they
    are."""
    found = dict.fromkeys(violations(sliced.largest, schedule, geometry))
    for part in sliced.distinct:
        found |= dict.fromkeys(violations(part, fitted(schedule, part), geometry))
    return tuple(found)


@lru_cache(maxsize=1024)
def default_alike(sliced: SlicedWorkload, core: VtaCore) -> Schedule:
    """The fastest of the largest slice's untuned schedules, planned for the whole port, half of it
    and a core's share, as a schedule of all slices.

    Raises:
        InfeasibleError: None of them fits all slices.
    """
    largest = [part for part in sliced.slices if part.workload == sliced.largest][:1]
    found: dict[Schedule, int] = {}
    for share in sorted({1, 2, sliced.cores}):
        (schedule,) = default_slice_schedules(largest, core, share)
        if schedule not in found and not violations_alike(sliced, schedule, core.geometry):
            found[schedule] = run_alike(sliced, schedule, core).cycles
    if not found:
        raise InfeasibleError(
            f"{sliced.whole.operator}: no untuned schedule fits all slices by {sliced.axis.value}"
        )
    return min(found, key=lambda schedule: found[schedule])


def run_alike(sliced: SlicedWorkload, schedule: Schedule, core: VtaCore) -> MulticoreResult:
    """Times all slices side by side.

    Raises:
        InfeasibleError: The schedule does not fit a slice.
    """
    schedules = schedules_alike(sliced, schedule)
    return measure_sliced(sliced.whole, schedules, core, sliced.cores, sliced.axis)


@lru_cache(maxsize=4096)
def sliced_cycles(workload: Workload, way: SlicedSchedule, core: VtaCore, cores: int) -> int:
    """Cycles of an operator over several cores.

    Raises:
        InfeasibleError: It cannot be cut so, or a schedule does not fit.
    """
    return measure_sliced(workload, way.schedules, core, cores, way.axis).cycles


def cost_alike(sliced: SlicedWorkload, schedule: Schedule, core: VtaCore) -> TaskCost:
    """What all slices cost together; modules are those of the core that ends last.

    Raises:
        InfeasibleError: The schedule does not fit a slice.
    """
    found = run_alike(sliced, schedule, core)
    last = max(found.cores, key=lambda one: one.cycles)
    return TaskCost(
        found.cycles,
        found.energy_pj,
        {
            name: sum(getattr(one.traffic, name).data_bytes for one in found.cores)
            for name in MEMORIES
        },
        {name: asdict(getattr(last, name)) for name in MODULES},
    )


def bound_alike(sliced: SlicedWorkload, core: VtaCore) -> TaskBound:
    """What no schedules of the slices beat."""
    found = sliced_bound(sliced.slices, core)
    return TaskBound(found.cycles, found.limited_by)
