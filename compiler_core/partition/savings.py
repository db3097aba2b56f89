"""What a layer saves where it continues the program of the layer before, pair by pair.

Measured where whole plans are linked: the shares of a program's layers add up to the program, so
the savings of its borders are what it takes less than its layers alone. A border costs the same in
another plan but for what layers farther away do to it; one that no linked plan had saves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from compiler_core.partition.costs import CostTable, GroupCost, UnitCost
from compiler_core.targets.places import Placement
from compiler_core.units.launches import Launch

if TYPE_CHECKING:
    from compiler_core.partition.evaluate import Evaluator


class Border(NamedTuple):
    """Two programs of a unit, the second of which may continue the first."""

    unit: int
    before: str
    layer: str


@dataclass(frozen=True)
class Savings:
    """Picoseconds saved at borders; less than 0 where a layer takes longer behind another.

    Attributes:
        of: By border; one that is not there saves nothing.
    """

    of: Mapping[Border, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.of)

    @cached_property
    def most(self) -> Mapping[tuple[int, str], int]:
        """The most that a layer saves behind any other, by unit and layer."""
        found: dict[tuple[int, str], int] = {}
        for border, saved in self.of.items():
            key = border.unit, border.layer
            found[key] = max(found.get(key, 0), saved)
        return found


NO_SAVINGS = Savings()


def with_savings(evaluator: Evaluator, placements: Iterable[Placement]) -> Evaluator:
    """The same costs with the savings of some plans, which are linked; where two of them differ,
    those of the later one.

    Args:
        evaluator: One that joins layers and can link plans; another one is returned as it is.
        placements: The plans.
    """
    if not evaluator.joins_layers or evaluator.overlaps is None:
        return evaluator
    known = dict(evaluator.savings.of)
    for placement in placements:
        known |= _measured(evaluator, placement)
    return with_known_savings(evaluator, Savings(known))


def with_known_savings(evaluator: Evaluator, savings: Savings) -> Evaluator:
    """The same costs with given savings."""
    found = copy(evaluator)
    found.savings = savings
    return found


def _measured(evaluator: Evaluator, placement: Placement) -> dict[Border, int]:
    """Savings of the borders of one plan. What the first layer of a program saves, whose end is no
    FINISH there, counts at the border behind it."""
    assert evaluator.overlaps is not None
    shares = evaluator.overlaps(placement)
    alone = {
        launch.name: (evaluator.unit_of[place], launch.run_ps)
        for group, place in enumerate(placement)
        if evaluator.unit_of[place] >= 0
        for launch in evaluator.programs(group, placement)
    }
    known = [(name, share) for name, share in shares.items() if name in alone]
    found: dict[Border, int] = {}
    for at, ((before, first), (name, share)) in enumerate(pairwise(known)):
        if not share.continues:
            continue
        unit, run_ps = alone[name]
        saved = run_ps - share.run_ps
        if not first.continues:
            saved += alone[known[at][0]][1] - first.run_ps
        found[Border(unit, before, name)] = saved
    return found


def most_saved_ps(evaluator: Evaluator, group: int, place: int) -> int:
    """What a group saves at a place at most, whatever it follows."""
    if not evaluator.savings or not evaluator.joins_at(place):
        return 0
    cost, most = evaluator.costs.groups[group].at[place], evaluator.savings.most
    names = {launch.name for launch in (*cost.programs, *cost.entry_programs)}
    return sum(most.get((evaluator.unit_of[place], name), 0) for name in names)


def saved_by_groups(
    evaluator: Evaluator, groups: Sequence[int]
) -> Mapping[tuple[int, int, int], int]:
    """What groups save at most behind others, and between their own programs, by unit, group
    before and group; only where that is more than nothing."""
    owners: dict[tuple[int, str], int] = {}
    for group in groups:
        for place, at in evaluator.costs.groups[group].at.items():
            for launch in (*at.programs, *at.entry_programs):
                owners[evaluator.unit_of[place], launch.name] = group
    found: dict[tuple[int, int, int], int] = {}
    for (unit, before, layer), saved in evaluator.savings.of.items():
        if (unit, layer) in owners and saved > 0:
            # What is before the groups looked at is there in any case.
            key = unit, owners.get((unit, before), -1), owners[unit, layer]
            found[key] = found.get(key, 0) + saved
    return found


def at_least(evaluator: Evaluator) -> Evaluator:
    """The same with times that no program of several layers falls short of, however they overlap:
    those of each layer's work. What it finds best bounds every plan."""
    groups = tuple(_at_least(evaluator, cost) for cost in evaluator.costs.groups)
    return evaluator.with_costs(_table(evaluator.costs, groups))


def _table(costs: CostTable, groups: tuple[GroupCost, ...]) -> CostTable:
    return replace(costs, groups=groups)


def _at_least(evaluator: Evaluator, cost: GroupCost) -> GroupCost:
    at = {
        place: _shortened(own) if evaluator.joins_at(place) else own
        for place, own in cost.at.items()
    }
    return replace(cost, at=at)


def _shortened(cost: UnitCost) -> UnitCost:
    return replace(
        cost,
        programs=tuple(map(_shortest, cost.programs)),
        entry_programs=tuple(map(_shortest, cost.entry_programs)),
    )


def _shortest(launch: Launch) -> Launch:
    return replace(launch, run_ps=min(launch.run_ps, launch.least_ps))
