"""Which core, or which slices on all cores, a layer of a compiled model runs on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.tensor.choice import check_schedule
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.facets.placing import PlacedLayers
from compiler_core.units.facets.programs import Units
from compiler_core.units.names import CPU
from compiler_core.units.unit import TaskBound
from compiler_core.units.vta.cores.alike import default_alike, schedules_alike, sliced_cycles
from compiler_core.units.vta.cores.multicore_schedule import default_slicings, sliced_bound
from compiler_core.units.vta.link.segment import UNIT, Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.structure.sliced_schedule import SlicedSchedule
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations, slice_workload
from compiler_core.units.vta.structure.ways import FASTEST, SUFFIX_OF_AXIS, WAYS

_AXIS_OF_SUFFIX = {suffix: axis for axis, suffix in SUFFIX_OF_AXIS.items()}
_CUTTING = (FASTEST, *_AXIS_OF_SUFFIX)


def slicing_key(task: str, axis: SliceAxis) -> str:
    """Name of a slicing in configurations."""
    return f"{task}-{axis.value}"


def require_known_slicings(
    given: Mapping[str, SlicedSchedule], layers: Sequence[SegmentLayers]
) -> None:
    """Refuses slicings of tasks that a model does not have.

    Raises:
        InputError: There is one; names those that the model has.
    """
    tasks = {
        Task(UNIT, sliced_workload(layer.workload)).id for part in layers for layer in part.layers
    }
    known = [slicing_key(task, axis) for task in sorted(tasks) for axis in SliceAxis]
    for name in given:
        if name not in known:
            raise InputError(
                f"slicing.{name}: the model has no such task on this target; it has "
                f"{', '.join(known) or 'none'}",
                hint=did_you_mean(name, known) or "remove the table",
            )


def sliced_workload(workload: Workload) -> Workload:
    """The operator as it is cut: its input in the plain layout, which all slices share."""
    return replace(workload, entry=False) if isinstance(workload, ConvWorkload) else workload


def place_layers(
    layers: Sequence[SegmentLayers],
    plan: Mapping[str, str],
    given: Mapping[str, SlicedSchedule],
    cores: Units,
) -> PlacedLayers:
    """Reads the places of all layers off a plan.

    Args:
        layers: Of each segment.
        plan: Unit per graph node.
        given: Slicings by key; others get the untuned default.
        cores: What there is.

    Raises:
        InputError: A unit that the target lacks, a layer that cannot be cut, or a slicing of
            another number of slices.
        InfeasibleError: A given schedule does not fit its slice.
    """
    units: dict[str, str] = {}
    parts: dict[str, tuple[SlicePart, ...]] = {}
    bounds: dict[str, TaskBound] = {}
    cuts: dict[str, str] = {}
    slicing: dict[str, SlicedSchedule] = {}
    resolved = dict(plan)
    changed = []
    for segment in layers:
        kept: list[Layer] = []
        for layer in segment.layers:
            unit = _unit(layer, plan, cores)
            if unit.removeprefix(cores.name) in _CUTTING:
                layer = replace(layer, workload=sliced_workload(layer.workload))
                axis, chosen = _slicing(layer, unit, given, cores)
                unit = f"{cores.name}{SUFFIX_OF_AXIS[axis]}"
                name, key = layer.operator.name, slicing_key(layer.task.id, axis)
                slicing[key], cuts[name] = chosen, key
                pieces = slice_workload(layer.workload, cores.count, axis)
                parts[name] = tuple(
                    SlicePart(piece, schedule)
                    for piece, schedule in zip(pieces, chosen.schedules, strict=True)
                )
                bound = sliced_bound(pieces, cores.machine)
                bounds[name] = TaskBound(bound.cycles, bound.limited_by)
                for node in layer.operator.sources:
                    if plan.get(node, "").removeprefix(cores.name) in _CUTTING:
                        resolved[node] = unit
            units[layer.operator.name] = unit
            kept.append(layer)
        changed.append(replace(segment, layers=tuple(kept)))
    ways = dict(sorted(slicing.items()))
    return PlacedLayers(tuple(changed), units, resolved, cuts, ways, parts, bounds)


def _unit(layer: Layer, plan: Mapping[str, str], cores: Units) -> str:
    """Views and what is fused say the unit alone; the node that says more decides."""
    name = cores.name
    asked = [plan.get(node, name) for node in layer.operator.sources]
    unit = next((unit for unit in asked if unit not in (CPU, name)), name)
    ways = WAYS.ways(cores.machine, cores.count)
    names = (CPU, *(f"{name}{way.suffix}" for way in ways))
    if unit not in names:
        allowed = ", ".join(names)
        raise InputError(
            f"plan: {layer.operator.name!r} is placed on {unit!r}; units of {cores.target!r} are "
            f"{allowed}"
        )
    return unit


def _slicing(
    layer: Layer, unit: str, given: Mapping[str, SlicedSchedule], units: Units
) -> tuple[SliceAxis, SlicedSchedule]:
    cores, workload, suffix = units.count, layer.workload, unit.removeprefix(units.name)
    axes = _axes(suffix)
    possible = [axis for axis in axes if not slice_violations(workload, cores, axis)]
    if not possible:
        reason = slice_violations(workload, cores, axes[0])[0]
        raise InputError(
            f"plan: {layer.operator.name!r} is placed on {unit!r}: it cannot be cut across the "
            f"{cores} cores: {reason}",
            hint=f"the nearest legal plan: {layer.operator.name} = {units.name}",
        )
    known = {
        axis: given[key] for axis in possible if (key := slicing_key(layer.task.id, axis)) in given
    }
    for axis, found in known.items():
        _check(layer, axis, found, units)
    if len(known) == 1:
        return next(iter(known.items()))
    if known:
        return _fastest(workload, known.values(), units)
    slicings = default_slicings(workload, units.machine, cores)
    best = min((slicings[axis] for axis in possible), key=lambda item: item.result.cycles)
    return best.axis, SlicedSchedule(best.axis, best.schedules)


def _fastest(
    workload: Workload, known: Iterable[SlicedSchedule], units: Units
) -> tuple[SliceAxis, SlicedSchedule]:
    """Of ways of cutting the one that takes the fewest cycles, the first of equal ones."""

    def cycles(way: SlicedSchedule) -> int:
        return sliced_cycles(workload, way, units.machine, units.count)

    best = min(known, key=cycles)
    return best.axis, best


def _axes(suffix: str) -> list[SliceAxis]:
    """What a way of cutting leaves open."""
    return [_AXIS_OF_SUFFIX[suffix]] if suffix != FASTEST else list(SliceAxis)


def _check(layer: Layer, axis: SliceAxis, given: SlicedSchedule, units: Units) -> None:
    where = f"slicing.{slicing_key(layer.task.id, axis)}"
    if given.axis is not axis:
        raise InputError(f"{where}: axis {given.axis.value!r}; {axis.value!r} is needed")
    pieces = slice_workload(layer.workload, units.count, axis)
    if len(pieces) != len(given.schedules):
        raise InputError(
            f"{where}: {len(given.schedules)} schedules; {units.target!r} cuts it into "
            f"{len(pieces)} slices"
        )
    for core, (piece, schedule) in enumerate(zip(pieces, given.schedules, strict=True)):
        task = Task(layer.task.unit, piece.workload)
        check_schedule(f"{where}.core-{core}", task, schedule, units.machine)


class VtaPlacing:
    """See :class:`~compiler_core.units.facets.placing.Placing`."""

    def place(
        self,
        layers: Sequence[SegmentLayers],
        plan: Mapping[str, str],
        given: Mapping[str, SlicedSchedule],
        units: Units,
    ) -> PlacedLayers:
        return place_layers(layers, plan, given, units)

    def require_known(
        self, given: Mapping[str, SlicedSchedule], layers: Sequence[SegmentLayers]
    ) -> None:
        require_known_slicings(given, layers)

    def tasks(
        self, layers: Sequence[SegmentLayers], plan: Mapping[str, str], units: Units
    ) -> Mapping[str, tuple[Task, ...]]:
        found: dict[str, tuple[Task, ...]] = {}
        for layer in (layer for segment in layers for layer in segment.layers):
            suffix = _unit(layer, plan, units).removeprefix(units.name)
            if suffix in _CUTTING:
                whole = sliced_workload(layer.workload)
                ways = [SlicedWorkload(whole, units.count, axis) for axis in _axes(suffix)]
                found[layer.operator.name] = tuple(
                    Task(UNIT, way) for way in ways if _is_searched(way, units)
                )
        return {name: tasks for name, tasks in found.items() if tasks}

    def cut(self, scheduled: Sequence[tuple[Task, Any]], units: Units) -> tuple[str, Any]:
        ways = []
        for task, schedule in scheduled:
            sliced: SlicedWorkload = task.workload
            untuned = default_slicings(sliced.whole, units.machine, units.count)[sliced.axis]
            ways.append(SlicedSchedule(sliced.axis, untuned.schedules))
            ways.append(SlicedSchedule(sliced.axis, schedules_alike(sliced, schedule)))
        whole = scheduled[0][0].workload.whole
        axis, best = _fastest(whole, ways, units)
        return slicing_key(Task(UNIT, whole).id, axis), best


def _is_searched(way: SlicedWorkload, units: Units) -> bool:
    """Whether schedules of all slices alike can be searched."""
    if slice_violations(way.whole, way.cores, way.axis):
        return False
    try:
        default_alike(way, units.machine)
    except InfeasibleError:
        return False
    return True


PLACING = VtaPlacing()
