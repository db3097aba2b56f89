"""The layers of a model on the units of its target, with their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError
from compiler_core.executable.executable import units_of
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.integer_units import integer_forms
from compiler_core.targets.target import Target, Unit
from compiler_core.targets.unit_tasks import (
    UnitTask,
    of_unit,
    task_id,
    task_suffix,
    task_unit,
    unit_task,
)
from compiler_core.units.facets.placing import PlacedLayers, placing_of
from compiler_core.units.facets.programs import UnitLayer, UnitLayers, Units
from compiler_core.units.names import is_on_cpu, unit_of
from compiler_core.units.registry import kind_of_machine


def model_layers(quantized: QuantizedGraph, target: Target) -> tuple[UnitLayers, ...]:
    """The layers of every integer segment on its unit, in execution order."""
    alone = quantized.entering_alone(integer_forms(target))
    found = []
    for part in quantized.segments:
        if part.unit:
            machine = target.unit(part.unit).machine
            known = kind_of_machine(machine).layers
            found.append(known.layers(part, quantized.tensors, alone[part.name], machine))
    return tuple(found)


def model_tasks(layers: Sequence[UnitLayers], target: Target) -> dict[str, UnitTask]:
    """Distinct tasks by their names in configurations, in order of first use."""
    found: dict[str, UnitTask] = {}
    for part in layers:
        for layer in part.layers:
            task = unit_task(target, part.segment.unit, layer.task)
            found.setdefault(task.name, task)
    return found


def named_layers(layers: Sequence[UnitLayers], target: Target) -> Iterator[tuple[str, UnitLayer]]:
    """All layers with the names of their tasks."""
    for part in layers:
        suffix = task_suffix(target, part.segment.unit)
        for layer in part.layers:
            yield layer.task.id + suffix, layer


def place_layers(
    layers: Sequence[UnitLayers],
    plan: Mapping[str, str],
    slicing: Mapping[str, Any],
    target: Target,
) -> PlacedLayers:
    """Reads the places of all layers off a plan, unit by unit.

    Args:
        layers: Of each segment.
        plan: Place per graph node.
        slicing: Ways of cutting by their names in configurations.
        target: The machine.

    Returns:
        All of them; ways of cutting have their names in configurations.

    Raises:
        InputError, InfeasibleError: As :class:`~compiler_core.units.facets.placing.Placing`.
    """
    _require_known(slicing, layers, target)
    resolved, units = dict(plan), dict[str, str]()
    cuts, ways = dict[str, str](), dict[str, Any]()
    pieces, bounds = dict[str, Any](), dict[str, Any]()
    changed = {part.segment.name: part for part in layers}
    for cores, suffix, own, here in _by_unit(layers, plan, target):
        given = of_unit(slicing, target, cores.name)
        placed = placing_of(cores).place(own, here, given, cores)
        changed |= {part.segment.name: part for part in placed.layers}
        resolved |= {n: place for n, place in placed.plan.items() if place != here.get(n)}
        units |= placed.units
        cuts |= {name: key + suffix for name, key in placed.cuts.items()}
        ways |= {key + suffix: way for key, way in placed.slicing.items()}
        pieces |= placed.pieces
        bounds |= placed.bounds
    return PlacedLayers(
        tuple(changed.values()), units, resolved, cuts, dict(sorted(ways.items())), pieces, bounds
    )


def cut_tasks(
    layers: Sequence[UnitLayers], plan: Mapping[str, str], target: Target
) -> dict[str, tuple[UnitTask, ...]]:
    """Tasks of the layers that a plan cuts over several cores, by name of the layer: one for each
    way of cutting that the plan leaves open.

    Raises:
        InputError: A unit that the target lacks.
    """
    found = {}
    for cores, _, own, here in _by_unit(layers, plan, target):
        for name, tasks in placing_of(cores).tasks(own, here, cores).items():
            found[name] = tuple(unit_task(target, cores.name, task) for task in tasks)
    return found


def tuned_slicings(
    cuts: Mapping[str, Sequence[UnitTask]], schedules: Mapping[str, Any], target: Target
) -> dict[str, Any]:
    """Ways of cutting by their names in configurations, as schedules of :func:`cut_tasks` say;
    those of layers without any are left out."""
    found = {}
    for tasks in cuts.values():
        scheduled = [(own.task, schedules[own.name]) for own in tasks if own.name in schedules]
        if scheduled:
            unit = tasks[0].unit
            cores = units_of(target, unit)
            key, way = placing_of(cores).cut(scheduled, cores)
            found[key + task_suffix(target, unit.name)] = way
    return found


def _by_unit(
    layers: Sequence[UnitLayers], plan: Mapping[str, str], target: Target
) -> Iterator[tuple[Units, str, list[UnitLayers], dict[str, str]]]:
    """Units that have layers: their cores, what names of their tasks end with, the layers, and the
    plan as they see it."""
    for unit in target.units:
        own = [part for part in layers if part.segment.unit == unit.name]
        if own:
            suffix = task_suffix(target, unit.name)
            yield units_of(target, unit), suffix, own, _places_of(plan, unit, target)


def _places_of(plan: Mapping[str, str], unit: Unit, target: Target) -> dict[str, str]:
    """A plan as one unit sees it: what runs on others says the unit alone, for views that are
    said to be there may belong to its layers."""
    names = [other.name for other in target.units]
    return {
        node: place if is_on_cpu(place) or unit_of(place, names) == unit.name else unit.name
        for node, place in plan.items()
    }


def _require_known(
    slicing: Mapping[str, Any], layers: Sequence[UnitLayers], target: Target
) -> None:
    """Refuses ways of cutting tasks that a model does not have.

    Raises:
        InputError: There is one.
    """
    left = set(slicing)
    for unit in target.units:
        if task_unit(target, unit.name) is not unit:
            continue
        own, suffix = of_unit(slicing, target, unit.name), task_suffix(target, unit.name)
        left -= {key + suffix for key in own}
        alike = [part for part in layers if task_unit(target, part.segment.unit).name == unit.name]
        placing_of(units_of(target, unit)).require_known(own, alike)
    for name in sorted(left):
        raise InputError(
            f"slicing.{name}: the target has no unit for {task_id(name)!r}",
            hint="remove the table",
        )
