"""Which core, or which slices on all cores, a layer of a compiled model runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.targets.target import Target
from compiler_core.tensor.choice import check_schedule
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.names import (
    ACROSS,
    BY_CHANNELS,
    BY_ROWS,
    CPU,
    NPU,
    SLICED_UNITS,
    units_of_target,
)
from compiler_core.units.vta.cores.multicore_schedule import default_slicings
from compiler_core.units.vta.link.segment import UNIT, Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.structure.sliced_schedule import SlicedSchedule
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations, slice_workload

UNIT_OF_AXIS = {SliceAxis.CHANNELS: BY_CHANNELS, SliceAxis.ROWS: BY_ROWS}
_AXIS_OF_UNIT = {unit: axis for axis, unit in UNIT_OF_AXIS.items()}


@dataclass(frozen=True, eq=False)
class Placed:
    """Layers with their places.

    Attributes:
        layers: Of each segment; sliced ones read the plain layout.
        units: By layer: ``vta``, ``vtaK``, or the axis along which it is sliced.
        parts: Slices with their schedules by sliced layer; slice ``k`` is for core ``k``.
        slicing: The same decisions by :func:`slicing_key`.
        plan: The plan with an axis wherever it left that open.
    """

    layers: tuple[SegmentLayers, ...]
    units: Mapping[str, str]
    parts: Mapping[str, tuple[SlicePart, ...]]
    slicing: Mapping[str, SlicedSchedule]
    plan: Mapping[str, str]


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
    target: Target,
) -> Placed:
    """Reads the places of all layers off a plan.

    Args:
        layers: Of each segment.
        plan: Unit per graph node.
        given: Slicings by key; others get the untuned default.
        target: The machine.

    Raises:
        InputError: A unit that the target lacks, a layer that cannot be cut, or a slicing of
            another number of slices.
        InfeasibleError: A given schedule does not fit its slice.
    """
    units: dict[str, str] = {}
    parts: dict[str, tuple[SlicePart, ...]] = {}
    slicing: dict[str, SlicedSchedule] = {}
    resolved = dict(plan)
    changed = []
    for segment in layers:
        kept: list[Layer] = []
        for layer in segment.layers:
            unit = _unit(layer, plan, target)
            if unit in SLICED_UNITS:
                layer = replace(layer, workload=sliced_workload(layer.workload))
                axis, chosen = _slicing(layer, unit, given, target)
                unit = UNIT_OF_AXIS[axis]
                slicing[slicing_key(layer.task.id, axis)] = chosen
                pieces = slice_workload(layer.workload, target.npu_cores, axis)
                parts[layer.operator.name] = tuple(
                    SlicePart(piece, schedule)
                    for piece, schedule in zip(pieces, chosen.schedules, strict=True)
                )
                for node in layer.operator.sources:
                    if plan.get(node) in SLICED_UNITS:
                        resolved[node] = unit
            units[layer.operator.name] = unit
            kept.append(layer)
        changed.append(replace(segment, layers=tuple(kept)))
    return Placed(tuple(changed), units, parts, dict(sorted(slicing.items())), resolved)


def _unit(layer: Layer, plan: Mapping[str, str], target: Target) -> str:
    """Views and what is fused say ``vta``; the node that says more decides."""
    asked = [plan.get(node, NPU) for node in layer.operator.sources]
    unit = next((unit for unit in asked if unit not in (CPU, NPU)), NPU)
    if unit not in units_of_target(target.npu_cores):
        allowed = ", ".join(units_of_target(target.npu_cores))
        raise InputError(
            f"plan: {layer.operator.name!r} is placed on {unit!r}; units of {target.name!r} are "
            f"{allowed}"
        )
    return unit


def _slicing(
    layer: Layer, unit: str, given: Mapping[str, SlicedSchedule], target: Target
) -> tuple[SliceAxis, SlicedSchedule]:
    cores, workload = target.npu_cores, layer.workload
    axes = [_AXIS_OF_UNIT[unit]] if unit != ACROSS else list(SliceAxis)
    possible = [axis for axis in axes if not slice_violations(workload, cores, axis)]
    if not possible:
        reason = slice_violations(workload, cores, axes[0])[0]
        raise InputError(
            f"plan: {layer.operator.name!r} is placed on {unit!r}: it cannot be cut across the "
            f"{cores} cores: {reason}",
            hint=f"the nearest legal plan: {layer.operator.name} = {NPU}",
        )
    known = [axis for axis in possible if slicing_key(layer.task.id, axis) in given]
    if known and (unit != ACROSS or len(known) == 1):
        found = given[slicing_key(layer.task.id, known[0])]
        _check(layer, known[0], found, target)
        return known[0], found
    slicings = default_slicings(workload, target.npu, cores)
    best = min((slicings[axis] for axis in possible), key=lambda item: item.result.cycles)
    return best.axis, SlicedSchedule(best.axis, best.schedules)


def _check(layer: Layer, axis: SliceAxis, given: SlicedSchedule, target: Target) -> None:
    where = f"slicing.{slicing_key(layer.task.id, axis)}"
    if given.axis is not axis:
        raise InputError(f"{where}: axis {given.axis.value!r}; {axis.value!r} is needed")
    pieces = slice_workload(layer.workload, target.npu_cores, axis)
    if len(pieces) != len(given.schedules):
        raise InputError(
            f"{where}: {len(given.schedules)} schedules; {target.name!r} cuts it into "
            f"{len(pieces)} slices"
        )
    for core, (piece, schedule) in enumerate(zip(pieces, given.schedules, strict=True)):
        task = Task(layer.task.unit, piece.workload)
        check_schedule(f"{where}.core-{core}", task, schedule, target.npu)
