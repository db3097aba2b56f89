"""Number formats of operators on this machine, as a part of the outer space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.proposals import FormatProposer
from compiler_core.precision.table import FormatCosts, table_of
from compiler_core.quantize.precisions import timed_as
from compiler_core.units.names import CPU
from search_spaces.joint import OuterPoint
from search_spaces.parameter import Parameter


class FormatsPart:
    """The place of each operator on the CPU: its number format.

    Args:
        graph: Simplified.
        costs: Places that operators may have, and what they cost here.
        known: Guesses as found before; else they are searched for now.
        offers: Places of plans that come first among guesses that are searched for.

    Raises:
        InputError: The costs are not of this graph, or one of ``known`` is no point of this space.
    """

    name = "partition"

    def __init__(
        self,
        graph: Graph,
        costs: FormatCosts,
        known: Sequence[OuterPoint] | None = None,
        offers: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._table, self._offers = table_of(graph, costs), offers
        self.parameters: tuple[Parameter, ...] = tuple(
            Parameter(name, tuple(places), ordered=False)
            for name, places in costs.places.items()
            if len(places) > 1
        )
        self.default: OuterPoint = (0,) * len(self.parameters)
        self._known = None if known is None else tuple(tuple(point) for point in known)
        self._estimates: dict[OuterPoint, float] = {}
        sizes = [len(parameter) for parameter in self.parameters]
        for point in self._known or ():
            if len(point) != len(sizes) or any(i >= n for i, n in zip(point, sizes, strict=True)):
                raise InputError(
                    "a stored guess of number formats does not fit the model",
                    hint="start the study anew: --if-exists replace",
                )

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """Operators that are not in float32, with their places."""
        named = zip(self.parameters, point, strict=True)
        return {p.name: p.values[index] for p, index in named if p.values[index] != CPU}

    def placed(self, start: OuterPoint, units: Mapping[str, str]) -> OuterPoint:
        """A point with what ``units`` says of its operators.

        Raises:
            InputError: The space does not hold it.
        """
        known = {parameter.name for parameter in self.parameters}
        for name, place in units.items():
            if place != CPU and name not in known:
                raise InputError(f"{name}: {place}; the space holds {CPU} alone")
        return tuple(
            parameter.index(units[parameter.name]) if parameter.name in units else index
            for parameter, index in zip(self.parameters, start, strict=True)
        )

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def estimate(self, point: OuterPoint) -> float:
        """Latency in ms by the costs of operators and pairs."""
        if point not in self._estimates:
            self._estimates[point] = (self._table.total_us(self.decode(point)) or 0.0) / 1e3
        return self._estimates[point]

    def guesses(self) -> Sequence[OuterPoint]:
        """Optima of the costs, and integers throughout as far as the space has them."""
        return self._found if self._known is None else self._known

    @cached_property
    def _found(self) -> tuple[OuterPoint, ...]:
        proposer = FormatProposer(self._table)
        plans = [*proposer.proposals(None), *proposer.throughout()]
        places = [*self._offers, *(plan.places for plan in plans)]
        points = dict.fromkeys(self._encoded(own) for own in places)
        points.pop(self.default, None)
        return tuple(points)

    def _encoded(self, places: Mapping[str, str]) -> OuterPoint:
        found = []
        for parameter in self.parameters:
            place = places.get(parameter.name, CPU)
            known = (own for own in (place, timed_as(place)) if own in parameter.values)
            found.append(parameter.index(next(known, CPU)))
        return tuple(found)
