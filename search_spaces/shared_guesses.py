"""First guesses where units can share operators: the optimum of the cost tables at some prices of
damage.

A price says how much time a unit of damage to the weights is worth
(:mod:`compiler_core.quantize.rounding_damage`); at each, every operator, with what follows it
channel by channel, takes the unit or the way of sharing of least time and price. That is the
optimum of all under the budget of damage that it comes to. What a starting placement has on the CPU
stays there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.partition.evaluate import Evaluator
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.sums import float_sum
from compiler_core.targets.places import ON_HOST, Placement
from search_spaces.shared import SharedWay, busy_ps, whole_damage

PRICES = 8
"""So many are tried, from one at which damage does not count to one at which none is done."""


@dataclass(frozen=True)
class Shared:
    """A placement with shared operators.

    Attributes:
        placement: Of the groups; what a way decides is not read.
        ways: By the group of the first node.
    """

    placement: Placement
    ways: Mapping[int, SharedWay]


@dataclass(frozen=True)
class _Option:
    run_ps: float
    damage: float
    place: int = -1
    way: SharedWay | None = None


class Guesses:
    """Guesses around placements.

    Args:
        evaluator: Model and costs.
        ways: Of sharing, by group.
        joins_layers: Whether layers that follow one another are launched together.
        prices: How many are tried.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        ways: Mapping[int, Sequence[SharedWay]],
        *,
        joins_layers: bool,
        prices: int = PRICES,
    ) -> None:
        self._evaluator, self._ways, self._joins = evaluator, ways, joins_layers
        self._count = prices
        self._nodes = {node.name: node for node in evaluator.groups.graph.nodes}
        self._levels = {
            name: own.traits.weight_levels
            for name, own in unit_arithmetics(evaluator.groups.arithmetic).units
        }
        self._whole: list[tuple[_Option, ...]] = []

    def around(self, start: Placement) -> list[Shared]:
        """Different ones, those of least damage first."""
        groups = self._evaluator.groups.groups
        self._whole = [tuple(self._places(group.index, start)) for group in groups]
        found: dict[tuple[object, ...], Shared] = {}
        for price in self._prices():
            chosen = self._at(start, price)
            key = (chosen.placement, tuple((g, w.name) for g, w in sorted(chosen.ways.items())))
            found.setdefault(key, chosen)
        return list(found.values())

    def damage(self, shared: Shared) -> float:
        """What a placement does to the weights of all layers."""
        places, group_of = self._evaluator.costs.places, self._evaluator.groups.group_of
        cut = {group_of[name] for way in shared.ways.values() for name in way.nodes}
        whole = (
            self._damage(group, places[at].name)
            for group, at in enumerate(shared.placement)
            if group not in cut and places[at].name in self._levels
        )
        return float_sum(whole) + float_sum(way.damage for way in shared.ways.values())

    def most_damage(self) -> float:
        """What is done where every layer has its weights on a unit of fewest bits; nothing where
        all have as many."""
        if not self._levels:
            return 0.0
        least = min(self._levels, key=lambda name: self._levels[name])
        return float_sum(
            self._damage(group.index, least) for group in self._evaluator.groups.groups
        )

    def _prices(self) -> list[float]:
        """In picoseconds per damage, the highest first."""
        options = [option for own in self._whole for option in own]
        damage = [option.damage for option in options if option.damage > 0]
        if not damage:
            return [0.0]
        most = max(option.run_ps for option in options) / min(damage)
        least = min(option.run_ps for option in options if option.damage > 0) / max(damage)
        between = np.geomspace(most, max(least, most * 1e-6) / 100, self._count).tolist()
        return [*between, 0.0]

    def _at(self, start: Placement, price: float) -> Shared:
        placement, ways = list(start), dict[int, SharedWay]()

        def worth(option: _Option) -> float:
            return option.run_ps + price * option.damage

        def best_whole(group: int) -> _Option | None:
            return min(self._whole[group], key=worth, default=None)

        places, group_of = self._evaluator.costs.places, self._evaluator.groups.group_of
        taken: set[int] = set()
        for group, here in enumerate(start):
            whole = best_whole(group)
            if group in taken or places[here].unit == ON_HOST or whole is None:
                continue
            placement[group] = whole.place
            rows: list[tuple[float, int, SharedWay, list[int]]] = []
            for way in self._ways.get(group, ()):
                behind = [group_of[name] for name in way.nodes[1:]]
                if any(places[start[other]].unit == ON_HOST for other in behind):
                    continue
                options = [best_whole(other) for other in behind]
                apart = worth(whole) + float_sum(worth(option) for option in options if option)
                rows.append((way.run_ps + price * way.damage - apart, len(rows), way, behind))
            if rows and min(rows)[0] < 0:
                _, _, way, behind = min(rows, key=lambda row: row[:2])
                ways[group] = way
                taken |= set(behind)
        return Shared(tuple(placement), ways)

    def _places(self, group: int, start: Placement) -> Iterator[_Option]:
        """Whole on each unit that computes in integers, beside the others where they start."""
        evaluator = self._evaluator
        costs = evaluator.costs
        launch = 0 if self._joins else costs.launch_ps
        for at in evaluator.choices[group]:
            place = costs.places[at]
            if place.unit != ON_HOST and place.name in self._levels:
                placed = (*start[:group], at, *start[group + 1 :])
                run_ps = busy_ps(evaluator, group, placed, launch)
                yield _Option(run_ps, self._damage(group, place.name), at)

    def _damage(self, group: int, unit: str) -> float:
        levels = self._levels[unit]
        if levels == max(self._levels.values()):
            return 0.0
        nodes = [self._nodes[name] for name in self._evaluator.groups.groups[group].nodes]
        return float_sum(_of_weights(self._evaluator, node, levels) for node in nodes)


def _of_weights(evaluator: Evaluator, node: Node, levels: int) -> float:
    return float(whole_damage(evaluator.groups.graph, [node], levels).sum())
