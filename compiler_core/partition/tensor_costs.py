"""The forms in which places hold tensors, and what each tensor costs there."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.partition.costs import TensorCost
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.quantize.layout import plain_shape
from compiler_core.system.jobs import PICOSECONDS
from compiler_core.targets.integer_units import Form, integer_units
from compiler_core.targets.places import ON_HOST, Place
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import host_costs
from compiler_core.units.ways import FLOAT32, INT8, TensorForm, ways_of

_FLOAT_BYTES = 4


def tensor_costs(
    groups: GroupGraph, target: Target
) -> tuple[tuple[Form, ...], tuple[int, ...], tuple[TensorCost, ...]]:
    """Forms, the form at each place, and what each tensor costs there."""
    memories = [memory.name for memory in target.memories]
    on_host = Form(FLOAT32, memories.index(target.cpu_memory))
    forms = {on_host: 0}
    form_of = []
    held: list[tuple[Callable[[tuple[int, ...]], TensorForm], bool]] = []
    for place in target.places.all:
        if place.unit == ON_HOST and place.number == FLOAT32:
            form_of.append(0)
            continue
        if place.unit == ON_HOST:
            unit = target.units.index(integer_units(target)[0])
            form_of.append(form_of[target.places.whole(unit)])
            continue
        shaped = _shaped(target, place)
        memory = memories.index(target.units[place.unit].memory)
        form = Form(shaped((1, 1, 1, 1)).layout, memory)
        if form not in forms:
            forms[form] = len(forms)
            held.append((shaped, place.number == INT8))
        form_of.append(forms[form])
    tensors = []
    for tensor in groups.tensors:
        # Integers may be padded beyond the numbers that there are; other numbers are not.
        real = plain_shape(groups.graph.types.get(tensor.name))
        inside = [shaped(tensor.shape if padded else real) for shaped, padded in held]
        extra = tuple(round(form.extra_s * PICOSECONDS) for form in inside)
        tensors.append(
            TensorCost(
                (tensor.values * _FLOAT_BYTES, *(form.bytes for form in inside)),
                host_costs().conversion(target.cpu, tensor.values, 0).energy_pj,
                (0, *extra) if any(extra) else (),
            )
        )
    return tuple(forms), tuple(form_of), tuple(tensors)


def _shaped(target: Target, place: Place) -> Callable[[tuple[int, ...]], TensorForm]:
    machine = target.units[place.unit].machine
    ways = ways_of(machine)
    return lambda shape: ways.form(shape, place.number, machine)
