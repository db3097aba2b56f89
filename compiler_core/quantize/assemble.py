"""From a graph and an assignment to a skeleton: fused groups, layouts, views, segments.

Nodes are visited in topological order. An NPU node asks for its inputs in the layout it needs: an
image ``[N, C, H, W]``, or pixels ``[N, ..., K]`` with the features as channels. A tensor of float
code is laid out as its first reader wants it; later readers have to agree, or run on the CPU. One
that takes any order wants the layout that the tensor has where everything runs on the NPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.layout import Placement
from compiler_core.quantize.operator_steps import HANDLERS
from compiler_core.quantize.skeleton import Shape, Skeleton
from compiler_core.quantize.step_builder import StepBuilder
from compiler_core.quantize.unit_arithmetics import (
    Computing,
    UnitArithmetics,
    unit_arithmetics,
)
from compiler_core.units.names import CPU
from compiler_core.units.numbers import numbers_of

__all__ = [
    "CPU",
    "assemble",
    "misplaced",
    "moved_views",
    "roomy_units",
    "usual_shapes",
    "without_room",
]


def assemble(
    graph: Graph,
    assignment: Mapping[str, str],
    arithmetic: Computing | None = None,
    together: Sequence[Sequence[str]] = (),
) -> Skeleton:
    """Build the skeleton.

    Args:
        graph: The float graph, simplified.
        assignment: Place of every node name; which core of a unit makes no difference.
        arithmetic: Of the NPUs; by default one of the usual kind.
        together: Names of nodes of the CPU that run as one loop; they stay in one segment.

    Raises:
        InputError: A node has no unit, an unknown one, or one that cannot run it.
    """
    units, chosen = unit_arithmetics(arithmetic), dict[str, str | None]()
    for node in graph.nodes:
        unit = units.unit_of(assignment.get(node.name), node.name)
        own = None if unit is None else units.other(unit)
        if own is not None:
            reason = numbers_of(own.kind).unsupported(graph, node)
        else:
            reason = None if unit is None else units[unit].unsupported(graph, node)
        if reason is not None:
            raise InputError(
                f"node {node.name!r} cannot run on {unit!r}: {reason}",
                hint=f"assign it to {CPU!r}",
            )
        chosen[node.name] = unit
    usual = _usual_placements(graph, assignment, units)
    elsewhere = [
        names
        for own in units.others
        for names in numbers_of(own.kind).together(
            graph, [node for node in graph.nodes if chosen[node.name] == own.name]
        )
    ]
    return _settled(graph, usual, units, chosen).skeleton([*together, *elsewhere])


def _settled(
    graph: Graph,
    usual: Mapping[str, Placement],
    units: UnitArithmetics,
    chosen: Mapping[str, str | None],
) -> StepBuilder:
    """All nodes visited; views that no layout of memory expresses, as their readers need it, run on
    the CPU.

    Args:
        graph: Simplified.
        usual: Placements where everything that can runs on the NPU.
        units: That nodes run on.
        chosen: Unit of each node; of the CPU where there is none.
    """
    moving: dict[str, str] = {}
    while True:
        builder = StepBuilder(graph, usual, units, HANDLERS)
        for node in graph.nodes:
            builder.add(node, chosen.get(node.name), moving)
        if builder.layouts.moving.keys() <= moving.keys():
            return builder
        # Others may have looked through it, and none does so now.
        moving |= builder.layouts.moving


def moved_views(graph: Graph, arithmetic: Computing) -> Mapping[str, str]:
    """Views that the CPU has to execute where everything that can runs on NPUs, and operators that
    find no layout there that they could run in; and why.

    Args:
        graph: Simplified.
        arithmetic: Of the NPUs.
    """
    units = unit_arithmetics(arithmetic).general
    key = (__name__, units.units)
    found: Mapping[str, str] | None = graph.derived.get(key)
    if found is None:
        chosen = {n.name: next(iter(units.able(graph, n)), None) for n in graph.nodes}
        builder = _settled(graph, {}, units, chosen)
        found = graph.derived[key] = {**builder.moved, **builder.misfits}
    return found


def misplaced(graph: Graph) -> Mapping[str, str]:
    """What operators read in another order than they need where everything that can runs on an NPU
    of the usual kind, by name of the operator.

    Args:
        graph: Simplified.
    """
    units = unit_arithmetics(None).general
    chosen = {n.name: next(iter(units.able(graph, n)), None) for n in graph.nodes}
    return _settled(graph, {}, units, chosen).misplaced


def usual_shapes(graph: Graph, arithmetic: Computing | None = None) -> Mapping[str, Shape]:
    """``(N, C, H, W)`` of tensors where everything that has room somewhere runs on an NPU.

    Args:
        graph: Simplified.
        arithmetic: Of the NPUs; by default one of the usual kind.
    """
    units = unit_arithmetics(arithmetic)
    key = (__name__, "shapes", units.units)
    found: Mapping[str, Shape] | None = graph.derived.get(key)
    if found is None:
        chosen, lacking = roomy_units(graph, units)
        left = {n.name for n in graph.nodes if units.unsupported(graph, n) is not None}
        places = {
            n.name: CPU if n.name in lacking or n.name in left else chosen[n.name]
            for n in graph.nodes
        }
        found = graph.derived[key] = assemble(graph, places, units).shapes
    return found


def _usual_placements(
    graph: Graph, assignment: Mapping[str, str], units: UnitArithmetics
) -> Mapping[str, Placement]:
    """Where tensors lie when every node runs on an NPU that can."""
    able = {node.name: units.able(graph, node) for node in graph.nodes}
    if all(units.is_integer(assignment.get(name)) for name, own in able.items() if own):
        return {}
    key = (__name__, "placements", units.general.units)
    found: Mapping[str, Placement] | None = graph.derived.get(key)
    if found is None:
        chosen = {name: next(iter(own), None) for name, own in able.items()}
        found = graph.derived[key] = _settled(graph, {}, units.general, chosen).placements
    return found


def without_room(
    graph: Graph, arithmetic: Computing, assignment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Nodes that no schedule fits on one machine, though one fits others of its kind, and why.

    Args:
        graph: Simplified.
        arithmetic: Of the machines.
        assignment: Place of every node name; by default all on the first NPU that can run it and
            where it has room.
    """
    return roomy_units(graph, arithmetic, assignment)[1]


def roomy_units(
    graph: Graph, arithmetic: Computing, assignment: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """The first unit on which each node has room, and why others, which units can run, have none.

    Args:
        graph, arithmetic, assignment: As for :func:`without_room`.
    """
    units, found, given = unit_arithmetics(arithmetic), dict[str, str](), assignment or {}
    left = {node.name: list(units.able(graph, node)) for node in graph.nodes}
    for name, place in given.items():
        unit = units.unit_of(place, name)
        left[name] = [own for own in left.get(name, []) if own == unit]
    if units == units.general:
        return {name: own[0] for name, own in left.items() if own}, found
    usual = _usual_placements(graph, given, units)
    while True:
        # What an operator had taken in is on its own beside one that left, and may not fit either.
        chosen = {name: next(iter(own), None) for name, own in left.items()}
        fresh = _settled(graph, usual, units, chosen).without_room
        if not fresh:
            return {name: own[0] for name, own in left.items() if own}, found
        for name, reason in fresh.items():
            left[name].pop(0)
            if not left[name]:
                found[name] = reason
