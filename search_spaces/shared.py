"""Ways of sharing a convolution or a dense layer between two units by output channels, and what is
worth trying.

Units that hold tensors in one form can share: the border is one of a few multiples of the channels
that lie together. What follows channel by channel is cut alike, all of it or none. What each way
costs beside the whole operator is told by the cost tables of graphs that are cut so, and what it
does to weights by the damage of rounding them (:mod:`compiler_core.quantize.rounding_damage`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.partition.evaluate import Evaluator
from compiler_core.quantize.channel_classes import (
    ChannelClasses,
    channels_of,
    is_channelwise,
    out_channels_first,
)
from compiler_core.quantize.rounding_damage import channel_damage
from compiler_core.quantize.unit_arithmetics import UnitArithmetics, unit_arithmetics
from compiler_core.quantize.unit_cuts import has_weights, is_leading, misfit_of
from compiler_core.targets.integer_units import integer_forms, target_arithmetic
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target
from compiler_core.units.names import Shares, shared_place
from search_spaces.shared_times import SharedDraft, SharedTimes

BORDERS = 7
"""Borders that are offered of an operator, at most."""

_FOLLOWED = " followed"

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SharedWay:
    """One way of sharing an operator.

    Attributes:
        shares: Units and their channels.
        nodes: What is cut so: the operator, and what follows where that does.
        run_ps: Time of its launches, the two units side by side on the memory that they share.
        damage: What rounding does to the weights of all that is cut, see :func:`whole_damage`.
    """

    shares: Shares
    nodes: tuple[str, ...]
    run_ps: int
    damage: float

    @property
    def place(self) -> str:
        """Of each of its nodes."""
        return shared_place(self.shares)

    @property
    def name(self) -> str:
        """Among the values of a decision."""
        return self.place + (_FOLLOWED if len(self.nodes) > 1 else "")


def shared_ways(
    graph: Graph, target: Target, evaluator: Evaluator, *, joins_layers: bool = False
) -> dict[int, tuple[SharedWay, ...]]:
    """Ways of sharing by group, where there are any.

    Args:
        graph: Simplified.
        target: The machine.
        evaluator: Of the model on it.
        joins_layers: Whether layers that follow one another are launched together.
    """
    pairs = _pairs(target)
    if not pairs:
        return {}
    units = unit_arithmetics(target_arithmetic(target))
    drafts = {
        node.name: tuple(
            draft for pair in pairs for draft in _drafts(graph, node, pair, units, evaluator)
        )
        for node in graph.nodes
        if is_leading(graph, node)
    }
    times = SharedTimes(graph, target, units, joins_layers=joins_layers)
    runs = times.of({name: found for name, found in drafts.items() if found})
    classes = ChannelClasses(graph)
    nodes = {node.name: node for node in graph.nodes}
    ways = {}
    for name, found in runs.items():
        ways[evaluator.groups.group_of[name]] = tuple(
            SharedWay(
                draft.shares,
                own,
                times.together_ps(spent, own),
                _damage(graph, [nodes[n] for n in own], draft.shares, classes, units),
            )
            for draft, spent in zip(drafts[name], found, strict=True)
            for own in dict.fromkeys([draft.nodes[:1], draft.nodes])
        )
    return ways


def whole_damage(graph: Graph, nodes: Sequence[Node], levels: int) -> _Floats:
    """What rounding to so many levels does to each channel of operators that are cut alike, as
    squared error per squared weight, summed over them; none where 8 bits hold them."""
    lost = [
        channel_damage(np.asarray(out_channels_first(graph, node)), levels)
        for node in nodes
        if has_weights(node) and node.inputs[1] in graph.constants
    ]
    return np.sum(lost, axis=0) if lost else np.zeros(channels_of(graph, nodes[0].output) or 0)


def busy_ps(evaluator: Evaluator, group: int, placement: Placement, launch_ps: int) -> int:
    """Time of a group's launches, one after another, as it is placed; of one that the CPU alone
    feeds with its input laid out for it."""
    programs = evaluator.programs(group, placement)
    return sum(program.run_ps + launch_ps * program.parts for program in programs)


def followers(graph: Graph, node: Node) -> tuple[Node, ...]:
    """What reads a node channel by channel, and so on."""
    found: dict[str, Node] = {}
    tensors = [node.output]
    while tensors:
        for reader in graph.consumers(tensors.pop()):
            if reader.name not in found and is_channelwise(graph, reader):
                found[reader.name] = reader
                tensors.append(reader.output)
    return tuple(item for item in graph.nodes if item.name in found)


def _pairs(target: Target) -> tuple[tuple[str, str], ...]:
    """Units that hold tensors in one form."""
    if len(target.units) < 2:
        return ()
    units, forms = unit_arithmetics(target_arithmetic(target)), integer_forms(target)
    return tuple((a, b) for a, b in combinations(units.names, 2) if forms[a] == forms[b])


def _drafts(
    graph: Graph,
    node: Node,
    pair: tuple[str, str],
    units: UnitArithmetics,
    evaluator: Evaluator,
) -> Iterator[SharedDraft]:
    total, first = channels_of(graph, node.output) or 0, pair[0]
    block = max(units[name].traits.channel_block for name in pair)
    borders = list(range(block, total, block))
    if len(borders) > BORDERS:
        picked = {round(at * (len(borders) - 1) / (BORDERS - 1)) for at in range(BORDERS)}
        borders = [borders[at] for at in sorted(picked)]
    behind = [item for item in followers(graph, node) if _is_alone(evaluator, item, pair)]
    for border in borders if _is_alone(evaluator, node, pair) else ():
        shares: Shares = ((first, border), (pair[1], total - border))
        if misfit_of(graph, node, {node.name: shares}, units) is not None:
            continue
        own = {node.name: shares}
        for item in behind:
            if misfit_of(graph, item, {**own, item.name: shares}, units) is None:
                own[item.name] = shares
        yield SharedDraft(shares, tuple(own))


def _is_alone(evaluator: Evaluator, node: Node, pair: tuple[str, str]) -> bool:
    """Whether a node is the only one of its group that computes, and both units can run it."""
    number = evaluator.groups.group_of[node.name]
    group, places = evaluator.groups.groups[number], evaluator.costs.places.numbers
    views = {name for name, _ in group.views}
    able = all(places[unit] in evaluator.choices[number] for unit in pair)
    return able and [n for n in group.nodes if n not in views] == [node.name]


def _damage(
    graph: Graph,
    nodes: Sequence[Node],
    shares: Shares,
    classes: ChannelClasses,
    units: UnitArithmetics,
) -> float:
    """Of the channels that units with few levels have: those of least damage where the order is
    free."""
    levels = [units[name].traits.weight_levels for name, _ in shares]
    lost = whole_damage(graph, nodes, min(levels))
    order = np.argsort(-lost, kind="stable") if classes.is_free(nodes[0].output) else None
    if order is not None and levels[0] < levels[-1]:
        order = order[::-1]
    ordered = lost if order is None else lost[order]
    total, first = 0.0, 0
    for (_, count), own in zip(shares, levels, strict=True):
        if own == min(levels) < max(levels):
            total += float(ordered[first : first + count].sum())
        first += count
    return total
