"""Plans of number formats that are worth running whole: optima of the measured costs.

The optimum of everything that was measured comes first, then other plans that should be nearly as
fast, far enough from it to be worth a look; optima of fewer choices, because sums of pairs say
little where a runtime fuses many operators into one; and what users would take without a search:
float, integers for all that has them, and for all products scales that are found as they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.partition.pairwise import (
    Exclusion,
    PairwisePlan,
    PairwiseProblem,
    best_pairwise,
)
from compiler_core.precision.full_forms import full_forms
from compiler_core.precision.table import PrecisionTable
from compiler_core.quantize.precisions import (
    SAME_VALUES,
    Dynamic,
    Static,
    has_weights,
    precision_of,
)
from compiler_core.sums import float_sum
from compiler_core.units.names import CPU

FLOAT = "float32"
FULL_INT8 = "int8 throughout"
ALL_DYNAMIC = "scales found as it runs, throughout"
MOST_PLANS = 6
_APART = 0.05
"""Share of the operators with choices in which plans of one optimum differ."""


@dataclass(frozen=True)
class PrecisionPlan:
    """A number format per operator.

    Attributes:
        name: For people.
        places: Of operators that are not float32.
        estimate_us: By the measured costs; ``None`` where they are not known of all of it.
        gap: How much less another plan could take by the same costs, at most, as a share; ``None``
            where the plan is no optimum.
    """

    name: str
    places: Mapping[str, str]
    estimate_us: float | None
    gap: float | None = None


class FormatProposer:
    """Optima of one table.

    Args:
        table: What operators and pairs cost.
        damages: Noise of each operator at each of its kept places; asked for where plans have to
            keep to some noise.
    """

    def __init__(
        self,
        table: PrecisionTable,
        damages: Callable[[], Mapping[str, Mapping[str, float]]] = dict,
    ) -> None:
        self.table = table
        self._make_damages = damages
        self._names = [node.name for node in table.graph.nodes]
        self._damages: Mapping[str, Mapping[str, float]] | None = None
        self._number = {name: at for at, name in enumerate(self._names)}

    @property
    def known_damages(self) -> Mapping[str, Mapping[str, float]]:
        """The same, where somebody has asked for it."""
        return self._damages or {}

    @property
    def damages(self) -> Mapping[str, Mapping[str, float]]:
        """Noise of each operator at each of its kept places, alone."""
        if self._damages is None:
            self._damages = self._make_damages()
        return self._damages

    def best(
        self,
        name: str,
        room: float | None,
        *,
        allowed: Mapping[str, Sequence[str]] | None = None,
        apart_from: Sequence[PrecisionPlan] = (),
    ) -> PrecisionPlan | None:
        """The fastest plan within some noise; ``None`` where there is none.

        Args:
            name: Of the plan.
            room: Noise that it may have; ``None`` for any.
            allowed: Places by operator, where not all that are kept.
            apart_from: Plans that it has to differ from.
        """
        places = self._allowed(allowed)
        free = sum(len(own) > 1 for own in places)
        distance = max(1, round(_APART * free))
        excluded = [
            Exclusion(tuple(choice), distance)
            for plan in apart_from
            if (choice := _choice(self._names, places, plan.places)) is not None
        ]
        found = best_pairwise(self._problem(places, room), room, excluded)
        return None if found is None else self._plan(name, places, found)

    def given(self, name: str, places: Mapping[str, str]) -> PrecisionPlan:
        """A plan that is no optimum."""
        known = {n: p for n, p in places.items() if p != CPU}
        return PrecisionPlan(name, known, self.table.total_us(known))

    def throughout(self) -> list[PrecisionPlan]:
        """Integers for all that has them, in every form that may be the fastest, the one whose
        operators take least first; float where no operator has integers."""
        forms = full_forms(self.table)
        found = [self.given(f"{FULL_INT8}, {name}", places) for name, places in forms.items()]
        return found or [self.given(FULL_INT8, {})]

    def proposals(self, room: float | None) -> list[PrecisionPlan]:
        """Optima within some noise, the one of all choices first."""
        found: list[PrecisionPlan] = []
        for number in range(MOST_PLANS - 3):
            plan = self.best(f"optimum {number + 1}", room, apart_from=found)
            if plan is None:
                break
            found.append(plan)
        weighted = self._only_weighted()
        for name, allowed in (
            ("float beside products", weighted),
            ("scales found as it runs", _floats_outside(weighted)),
        ):
            plan = self.best(name, room, allowed=allowed)
            if plan is not None:
                found.append(plan)
        if places := self._all_dynamic():
            found.append(self.given(ALL_DYNAMIC, places))
        known: list[Mapping[str, str]] = [{}, *(plan.places for plan in self.throughout())]
        apart = []
        for plan in found:
            if plan.places not in known:
                known.append(plan.places)
                apart.append(plan)
        return apart

    def _all_dynamic(self) -> dict[str, str]:
        """Scales found as it runs for every product that has them, all per tensor or all per
        channel.

        Products that read one tensor find its scale once: what they cost alone tells too much.
        """
        forms = []
        for per_channel in (False, True):
            form = {
                name: place
                for name, times in self.table.singles.items()
                for place in times
                if precision_of(place) == Dynamic(per_channel)
            }
            forms.append(form)
        return min(forms, key=self._alone_us)

    def _alone_us(self, places: Mapping[str, str]) -> tuple[int, float]:
        """Of a form: as many operators as may be, then the sum of what they take alone."""
        singles = self.table.singles
        return -len(places), float_sum(singles[name][place] for name, place in places.items())

    def _only_weighted(self) -> dict[str, tuple[str, ...]]:
        """Places where operators between weighted ones stay float, but for those that only move."""
        graph = self.table.graph
        return {
            node.name: self.table.kept[node.name]
            if has_weights(graph, node) or node.op in SAME_VALUES
            else (CPU,)
            for node in graph.nodes
        }

    def _allowed(self, allowed: Mapping[str, Sequence[str]] | None) -> list[tuple[str, ...]]:
        found = self.table.kept if allowed is None else allowed
        return [tuple(found[name]) for name in self._names]

    def _problem(self, places: Sequence[Sequence[str]], room: float | None) -> PairwiseProblem:
        singles = self.table.singles
        damages = {} if room is None else self.damages
        own = list(zip(self._names, places, strict=True))
        pairs = {}
        for (before, after), costs in self.table.borders.items():
            i, j = self._number[before], self._number[after]
            if len(places[i]) > 1 or len(places[j]) > 1:
                pairs[i, j] = tuple(tuple(costs[p, q] for q in places[j]) for p in places[i])
        return PairwiseProblem(
            tuple(tuple(singles[name][place] for place in row) for name, row in own),
            tuple(
                tuple(damages.get(name, {}).get(place, 0.0) for place in row) for name, row in own
            ),
            pairs,
        )

    def _plan(
        self, name: str, places: Sequence[Sequence[str]], found: PairwisePlan
    ) -> PrecisionPlan:
        chosen = {
            node: row[at]
            for node, row, at in zip(self._names, places, found.choice, strict=True)
            if row[at] != CPU
        }
        return PrecisionPlan(name, chosen, self.table.total_us(chosen), found.gap)


def _choice(
    names: Sequence[str], places: Sequence[Sequence[str]], given: Mapping[str, str]
) -> list[int] | None:
    """A plan as numbers of places; ``None`` where it is none of these."""
    found = []
    for name, row in zip(names, places, strict=True):
        place = given.get(name, CPU)
        if place not in row:
            return None
        found.append(row.index(place))
    return found


def _floats_outside(allowed: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Of places those that read and write floats."""
    return {
        name: tuple(place for place in own if not isinstance(precision_of(place), Static))
        for name, own in allowed.items()
    }
