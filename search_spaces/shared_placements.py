"""Placements of a model's groups, in which units may share operators by output channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler_core.errors import InputError
from compiler_core.partition.best import on_first_units, untuned
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.places import Placement
from compiler_core.units.names import shares_of
from search_spaces.partition import PartitionSpace
from search_spaces.shared import SharedWay, busy_ps
from search_spaces.shared_guesses import Guesses, Shared

Point = tuple[int, ...]

_LEAST = 0.01
"""No estimate is below such a part of what the placement without sharing takes."""


class SharedPlacements:
    """A partition space with ways of sharing behind the places of a group.

    Args:
        space: The places.
        ways: Of sharing, by group.
        joins_layers: Whether layers that follow one another are launched together.

    Attributes:
        parameters: One per free group, named after it; values are places and names of ways. What
            follows a shared operator has a decision of its own that does not count then.
    """

    def __init__(
        self, space: PartitionSpace, ways: Mapping[int, Sequence[SharedWay]], *, joins_layers: bool
    ) -> None:
        self._space, self._joins = space, joins_layers
        self._groups, self._costs = space.evaluator.groups, space.evaluator.costs
        names = [self._groups.groups[group].name for group in ways]
        by_name = dict(zip(names, ways.items(), strict=True))
        free = {p.name for p in space.parameters}
        own = {name: found for name, found in by_name.items() if name in free}
        self._ways = {group: tuple(found) for group, found in own.values()}
        self._group_at = tuple(own[p.name][0] if p.name in own else -1 for p in space.parameters)
        self.parameters = tuple(
            replace(p, values=(*p.values, *(way.name for way in self._ways.get(group, ()))))
            for p, group in zip(space.parameters, self._group_at, strict=True)
        )
        self._axis = {p.name: at for at, p in enumerate(self.parameters)}

    def encode(self, placement: Placement) -> Point:
        """The point of a placement without sharing."""
        return self._space.encode(placement)

    def assignment(self, point: Point) -> dict[str, str]:
        """Place of every node: what a configuration holds as its plan."""
        base, chosen = self._split(point)
        found = assignment_of(self._space.placement(base), self._groups, self._costs.places)
        return found | {name: way.place for way in chosen.values() for name in way.nodes}

    def latency_ms(self, point: Point) -> float:
        """End-to-end latency by the cost tables: shared operators as if whole on the first of their
        units, and the time that sharing takes less or more."""
        base, chosen = self._split(point)
        whole = self._space.latency_ms(base)
        launch = 0 if self._joins else self._costs.launch_ps
        evaluator, placement = self._space.evaluator, self._space.placement(base)
        changed = 0
        for way in chosen.values():
            for name in way.nodes:
                group = self._groups.group_of[name]
                changed -= busy_ps(evaluator, group, placement, launch)
            changed += way.run_ps
        return max(_LEAST * whole, whole + changed / 1e9)

    def prices(self, point: Point) -> dict[str, float]:
        """What a point costs by the cost tables, by metric: all but the latency as if nothing were
        shared."""
        base, chosen = self._split(point)
        found = self._space.prices(base)
        return {**found, "latency_ms": self.latency_ms(point)} if chosen else found

    def first_points(self, aims: Sequence[str] = ()) -> tuple[Point, ...]:
        """Points to try first: without sharing, then with it around the optimum and the default, at
        several budgets of damage.

        Args:
            aims: Metrics that count, the most important first.
        """
        plain = tuple(self._space.first_points(aims).values())
        if not self._ways:
            return plain
        evaluator = self._space.evaluator
        guesses = Guesses(evaluator, self._ways, joins_layers=self._joins)
        found = dict.fromkeys(plain)
        for start in self._starts(plain[:1]):
            found |= dict.fromkeys(self.point(guess) for guess in guesses.around(start))
        return tuple(found)

    def _starts(self, plain: Sequence[Point]) -> tuple[Placement, ...]:
        evaluator = self._space.evaluator
        known = [*map(self._space.placement, plain), on_first_units(evaluator), untuned(evaluator)]
        return tuple(dict.fromkeys(known))

    def within_damage(self, share: float, prices: int = 32) -> list[tuple[Point, float]]:
        """Points that damage weights no more than a limit allows, with what they do, the fastest by
        the cost tables first; the default, which does none, is among them.

        Args:
            share: Of the damage where every layer has its weights on a unit of fewest bits.
            prices: Of damage, at which optima are looked for.
        """
        evaluator = self._space.evaluator
        guesses = Guesses(evaluator, self._ways, joins_layers=self._joins, prices=prices)
        whole = guesses.most_damage()
        best = tuple(self._space.first_points().values())[:1]
        starts = self._starts(best)
        offers = [Shared(start, {}) for start in starts]
        for start in starts:
            offers += guesses.around(start)
        found = {}
        for offer in offers:
            done = guesses.damage(offer) / whole if whole else 0.0
            if done <= share:
                found[self.point(offer)] = done
        return sorted(found.items(), key=lambda item: (self.latency_ms(item[0]), item))

    def placed(self, start: Point, units: Mapping[str, str]) -> Point:
        """A point with what ``units`` says of its nodes.

        Raises:
            InputError: The space does not hold it.
        """
        found = list(start)
        for axis, parameter in enumerate(self.parameters):
            place = units.get(parameter.name)
            if place is None:
                continue
            if not shares_of(place):
                found[axis] = parameter.index(place)
                continue
            alike = {name for name, other in units.items() if other == place}
            ways = self._ways.get(self._group_at[axis], ())
            fitting = [way for way in ways if way.place == place and alike.issuperset(way.nodes)]
            if fitting:
                found[axis] = parameter.index(max(fitting, key=lambda way: len(way.nodes)).name)
        told = self.assignment(tuple(found))
        for name, place in units.items():
            if shares_of(place) and told.get(name) != place:
                raise InputError(
                    f"{name}: {place}; the study does not offer it to be shared so",
                    hint="nest-tune space show lists what there is",
                )
        return tuple(found)

    def point(self, shared: Shared) -> Point:
        """The point of a placement with shared operators."""
        point = list(self._space.encode(shared.placement))
        for group, way in shared.ways.items():
            name = self._groups.groups[group].name
            if name in self._axis:
                axis = self._axis[name]
                point[axis] = self.parameters[axis].index(way.name)
        return tuple(point)

    def _split(self, point: Point) -> tuple[Point, dict[int, SharedWay]]:
        """The point in which what is shared, and what follows it, is whole on the first unit; and
        what is shared."""
        base, chosen = list(point), dict[int, SharedWay]()
        for axis, index in enumerate(point):
            places = self._space.parameters[axis].values
            if index >= len(places):
                group = self._group_at[axis]
                chosen[group] = self._ways[group][index - len(places)]
        for way in chosen.values():
            for name in way.nodes:
                axis = self._axis.get(self._groups.groups[self._groups.group_of[name]].name, -1)
                if axis >= 0:
                    base[axis] = self._space.parameters[axis].index(way.shares[0][0])
        return tuple(base), chosen
