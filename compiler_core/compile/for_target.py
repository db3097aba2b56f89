"""A model in the form in which the units of a target run the most of it.

What is the same for every target is simplified as a model is imported; this is what depends on what
its units can run and on what its CPU costs.
"""

from __future__ import annotations

from dataclasses import replace

from compiler_core.compile.sources import FloatModel
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.projected_recurrence import ProjectedRecurrence, is_projectable
from compiler_core.graph.passes.rewriter import Rewriter
from compiler_core.graph.passes.simplify import folded_as_it_is
from compiler_core.quantize.copies import with_copies
from compiler_core.quantize.unit_arithmetics import UnitArithmetics, unit_arithmetics
from compiler_core.sums import float_sum
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import host_costs
from compiler_core.units.numbers import numbers_of

_WORTH = 0.8
"""Of what a recurrent operator costs the CPU as a whole, what is left to recur takes at most so
much: the products of its inputs take time on a unit, too, and borders are crossed."""
_PRODUCT = ("MatMul", "Add")


def fitted(model: FloatModel, target: Target) -> FloatModel:
    """The same function for the units of a target.

    Recurrent cells that no unit runs leave the products of their inputs to the units, where what is
    left costs the CPU clearly less than the whole. Costs that were measured by operator stay as
    they are, and so does what runs by the clock.

    Args:
        model: As imported.
        target: What it is compiled for.
    """
    if target.by_clock or target.cpu_table is not None or not target.npu_cores:
        return model
    units = unit_arithmetics(target_arithmetic(target))
    if not units.units:
        return model
    known = Rewriter(model.graph)
    names = frozenset(
        node.name
        for node in model.graph.nodes
        if is_projectable(known, node)
        and not _runs_whole(units, model.graph, node)
        and _is_worth_it(model.graph, node, target)
    )
    if not names:
        return model
    apart = folded_as_it_is(ProjectedRecurrence(names).apply(model.graph))
    return replace(model, graph=with_copies(apart))  # folding takes copies for views


def _runs_whole(units: UnitArithmetics, graph: Graph, node: Node) -> bool:
    if units.able(graph, node):
        return True
    return any(numbers_of(own.kind).unsupported(graph, node) is None for own in units.others)


def _is_worth_it(graph: Graph, node: Node, target: Target) -> bool:
    """Whether what is left recurring costs little of what the node costs."""
    apart = ProjectedRecurrence(frozenset([node.name])).apply(graph)
    before = {id(one) for one in graph.nodes}
    left = [one for one in apart.nodes if id(one) not in before and one.op not in _PRODUCT]
    cost, whole = (host_costs().of_target(target, which) for which in (apart, graph))
    rest = float_sum(cost(apart, one).seconds for one in left)
    return rest <= _WORTH * whole(graph, node).seconds
