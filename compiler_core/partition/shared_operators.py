"""Plans whose operators several units share, as plans of the graph in which each share is an
operator of its own; and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph
from compiler_core.partition.plan import Plan
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.unit_arithmetics import Computing
from compiler_core.quantize.unit_cuts import cut_over_units
from compiler_core.units.names import shares_of


@dataclass(frozen=True, eq=False)
class SharedPlan:
    """A plan without shared operators.

    Attributes:
        plan: Names the parts.
        graph: That it is for.
        places: Of shared operators, by their names.
        parts: Name of the shared operator of each part.
    """

    plan: Plan
    graph: Graph
    places: Mapping[str, str]
    parts: Mapping[str, str]

    def whole(self, units: Mapping[str, str]) -> dict[str, str]:
        """The place of every node of the graph before, given those of :attr:`graph`."""
        own = {name: place for name, place in units.items() if name not in self.parts}
        return {**own, **self.places}


def without_shares(plan: Plan, graph: Graph, arithmetic: Computing) -> SharedPlan:
    """A plan with an operator for each share; itself where no units share any.

    Args:
        plan: As people write it.
        graph: Simplified.
        arithmetic: Of the units.

    Raises:
        InputError: An operator is unknown or cannot be cut in these shares.
    """
    places = {name: place for name, place in plan.units.items() if shares_of(place)}
    if not places:
        return SharedPlan(plan, graph, {}, {})
    usual = default_assignment(graph, arithmetic=arithmetic)
    for name in places:
        if name not in usual:
            raise InputError(
                f"plan: units: the model has no node {name!r}",
                hint=did_you_mean(name, list(usual)) or "nest-tune plan show MODEL lists them",
            )
    # A whole is put together where it is read: what a plan says of the readers counts.
    named = {name: place for name, place in plan.units.items() if name in usual}
    cut = cut_over_units(graph, {**usual, **named}, {}, arithmetic)
    pieces: dict[str, list[str]] = {}
    for part, name in cut.origin.items():
        pieces.setdefault(name, []).append(part)
    units = {name: place for name, place in plan.units.items() if name not in places}
    units |= {part: cut.assignment[part] for part in cut.origin}
    order = tuple(part for name in plan.order for part in pieces.get(name, [name]))
    return SharedPlan(replace(plan, units=units, order=order), cut.graph, places, cut.origin)


def of_whole(plan: Plan, shared: SharedPlan) -> Plan:
    """A plan of the graph with parts as one of the graph before."""
    order = tuple(dict.fromkeys(shared.parts.get(name, name) for name in plan.order))
    return replace(plan, units=shared.whole(plan.units), order=order)
