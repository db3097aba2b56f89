"""Who goes first where several steps wait for a unit, as a plan's order says."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.system.jobs import JobKind
from compiler_core.system.positions import Positions
from compiler_core.system.steps import ExecutionStep


def require_order(order: Sequence[str], graph: Graph) -> None:
    """Refuses an order of nodes that a model does not have.

    Raises:
        InputError: There is one; names the nearest.
    """
    names = [node.name for node in graph.nodes]
    known = set(names)
    for name in order:
        if name not in known:
            raise InputError(
                f"order: the model has no node {name[:80]!r}",
                hint=did_you_mean(name, names) or "remove it",
            )


def ordered_priorities(
    steps: Sequence[ExecutionStep], order: Sequence[str], graph: Graph, positions: Positions
) -> tuple[int, ...]:
    """Priority of each step, the highest goes first: that of its nodes, and of a conversion that of
    the first that reads what it converts. What is not named comes last.

    Args:
        steps: Of the model.
        order: Names of nodes, those of highest priority first.
        graph: Simplified.
        positions: Of its tensors.
    """
    rank = {name: at for at, name in enumerate(order)}
    last = len(rank)
    for step in steps:
        # What is fused goes together, wherever its nodes stand in the order.
        fused = () if step.layer is None else step.layer.operator.sources
        rank |= dict.fromkeys(fused, min((rank.get(name, last) for name in fused), default=last))
    given = _given_views(graph)
    of_step: dict[int, int] = {}
    of_values: dict[int, int] = {}
    for node in graph.nodes:
        own = rank.get(node.name, last)
        place = positions.of_node(node.name)
        of_step[place] = min(of_step.get(place, last), own)
        if node.name in given:
            continue  # whoever reads the view reads the tensor
        for name in node.inputs:
            source = positions.of_values(name)
            of_values[source] = min(of_values.get(source, last), own)
    found = [last] * len(steps)
    first_reader: dict[int, int] = {}
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        first_reader |= dict.fromkeys(step.after, number)
        converts = step.layer is None and step.kind is not JobKind.OPERATOR
        if step.kind is JobKind.OPERATOR and step.name in given:
            # The CPU moves values for whoever reads them first, else for whoever writes what the
            # model's caller is given.
            viewed = given[step.name]
            if number in first_reader:
                found[number] = found[first_reader[number]]
            elif viewed is not None:
                found[number] = of_step.get(positions.of_values(viewed), last)
            continue
        known = of_values if converts else of_step
        found[number] = known.get(step.position(positions), last)
    return tuple(-rank for rank in found)


def _given_views(graph: Graph) -> dict[str, str | None]:
    """Nodes that only look at a tensor in another shape; with its name where the model's caller is
    given what they or views of them write."""
    found: dict[str, str | None] = {}
    given = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.op in VIEW_OPERATORS and node.clip is None:
            is_given = given.intersection(node.outputs)
            found[node.name] = node.inputs[0] if is_given else None
            given |= {node.inputs[0]} if is_given else set()
    return found
