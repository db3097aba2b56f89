"""Placements of least energy, cycles or memory: the aims of plans beside latency.

Energy, cycles and constants are sums over groups and borders, and nothing overlaps: a program in
whole numbers with one variable per group and place, and one per tensor and form that it has to be
brought into, says exactly which placement has the least. What single sums leave aside (taps that
fold at the entry of the NPU, copies that a neighbour spares, the peak of live tensors) is looked at
afterwards: single groups, and neighbours together, are moved while the whole gets less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

import numpy as np

from compiler_core.integer_programs import solve
from compiler_core.partition.costs import ON_CPU_FORM
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.group_graph import OUTSIDE
from compiler_core.sums import float_sum
from compiler_core.targets.places import ON_CPU, Placement
from compiler_core.units.launches import Launch

_NODES = 20_000
"""Of the search for the least sum: a count, so that a loaded machine finds the same."""

_LOOKED_AT = 200_000
"""Placements that are simulated, times the groups."""


class Price(Enum):
    """What a placement costs beside its latency."""

    ENERGY_PJ = "energy"
    CYCLES = "cycles"
    CONSTANT_BYTES = "constants"
    PEAK_BYTES = "peak"

    def of(self, evaluation: Evaluation) -> float:
        """The price of a placement that was simulated."""
        return {
            Price.ENERGY_PJ: evaluation.energy_pj,
            Price.CYCLES: evaluation.npu_cycles,
            Price.CONSTANT_BYTES: evaluation.dram_constant_bytes,
            Price.PEAK_BYTES: evaluation.dram_peak_bytes,
        }[self]


def find_least(
    evaluator: Evaluator,
    price: Price,
    *,
    pins: Mapping[int, int] | None = None,
    starts: Iterable[Placement] = (),
) -> Placement:
    """The placement with the least of a price; of equal ones the fastest that was met.

    Args:
        evaluator: Costs.
        price: Which.
        pins: Groups whose place is given.
        starts: Placements that the result is never worse than.
    """
    choices = [
        (pins[group],) if pins and group in pins else places
        for group, places in enumerate(evaluator.choices)
    ]

    least = least_sum(evaluator, price, choices)
    known = dict.fromkeys(([] if least is None else [least]) + list(starts))
    admitted = [
        start
        for start in known
        if all(place in allowed for place, allowed in zip(start, choices, strict=True))
    ]
    return descend(evaluator, price.of, choices, admitted or [tuple(c[0] for c in choices)])


def descend(
    evaluator: Evaluator,
    value: Callable[[Evaluation], float],
    choices: Sequence[tuple[int, ...]],
    starts: Iterable[Placement],
) -> Placement:
    """The best of some placements, improved by moving single groups, and neighbours together, until
    nothing helps; of equal ones the fastest that was met.

    Args:
        evaluator: Costs.
        value: Of a placement that was simulated; less is better.
        choices: Places of each group.
        starts: At least one placement.
    """

    def rank(placement: Placement) -> tuple[float, int]:
        evaluation = evaluator.evaluate(placement)
        return value(evaluation), evaluation.latency_ps

    best = min((rank(start), start) for start in starts)
    left = max(1, _LOOKED_AT // max(1, len(choices)))
    while True:
        for moved in _moved(evaluator, best[1], choices):
            left -= 1
            found = rank(moved), moved
            if found[0] < best[0]:
                best = found
                break
            if not left:
                return best[1]
        else:
            return best[1]


def _moved(
    evaluator: Evaluator, placement: Placement, choices: Sequence[tuple[int, ...]]
) -> Iterator[Placement]:
    """Placements with one group elsewhere, then with two neighbours elsewhere together."""
    for group, places in enumerate(choices):
        for place in places:
            if place != placement[group]:
                yield (*placement[:group], place, *placement[group + 1 :])
    for tensor in evaluator.groups.tensors:
        for reader in tensor.consumers:
            if tensor.producer == OUTSIDE:
                continue
            for place in set(choices[tensor.producer]) & set(choices[reader]):
                found = list(placement)
                found[tensor.producer] = found[reader] = place
                if tuple(found) != placement:
                    yield tuple(found)


def least_sum(
    evaluator: Evaluator, price: Price, choices: Sequence[tuple[int, ...]]
) -> Placement | None:
    """The placement whose groups and borders have the least sum; ``None`` where none was found."""
    return _Program(evaluator, price, choices).solve()


class _Program:
    """One variable per group and place, and per tensor and form that it is brought into."""

    def __init__(
        self, evaluator: Evaluator, price: Price, choices: Sequence[tuple[int, ...]]
    ) -> None:
        self._owner, self._price, self._choices = evaluator, price, choices
        self._costs: list[float] = []
        self._rows: list[tuple[dict[int, float], float, float]] = []
        self._at: list[dict[int, int]] = []
        for group, places in enumerate(choices):
            own = {place: self._variable(self._own(group, place)) for place in places}
            self._rows.append((dict.fromkeys(own.values(), 1.0), 1.0, 1.0))
            self._at.append(own)
        self._whole = len(self._costs)
        for (group, unit), copies in evaluator.copies.items():
            self._copied(group, unit, copies)
        for group, folds in enumerate(evaluator.folds):
            for place in folds:
                self._folded(group, place)
        for tensor in range(len(evaluator.groups.tensors)):
            self._border(tensor)

    def _variable(self, cost: float) -> int:
        self._costs.append(cost)
        return len(self._costs) - 1

    def _own(self, group: int, place: int) -> float:
        cost = self._owner.costs.groups[group]
        if place == ON_CPU:
            return {
                Price.ENERGY_PJ: cost.cpu.energy_pj,
                Price.CYCLES: 0.0,
            }.get(self._price, float(cost.cpu.constant_bytes))
        copies = self._owner.copies.get((group, self._owner.unit_of[place]), {})
        return self._sum(p for at, p in enumerate(cost.at[place].programs) if at not in copies)

    def _sum(self, programs: Iterable[Launch]) -> float:
        if self._price is Price.ENERGY_PJ:
            return float_sum(program.energy_pj for program in programs)
        if self._price is Price.CYCLES:
            return float(sum(program.cycles for program in programs))
        return float(sum(program.constant_bytes for program in programs))

    def _copied(self, group: int, unit: int, copies: Mapping[int, frozenset[int]]) -> None:
        """Copies of a concatenation are paid where another group that needs them is there, too."""
        here = {v for place, v in self._at[group].items() if self._owner.unit_of[place] == unit}
        places = self._owner.costs.groups[group].at.items()
        own = next((at for place, at in places if self._owner.unit_of[place] == unit), None)
        if own is None or not here:
            return
        for position, others in copies.items():
            paid = self._variable(self._sum([own.programs[position]]))
            for other in others:
                there = self._at[other].items()
                beside = {v for place, v in there if self._owner.unit_of[place] == unit}
                row = dict.fromkeys(here | beside, -1.0) | {paid: 1.0}
                self._rows.append((row, -1.0, np.inf))

    def _folded(self, group: int, place: int) -> None:
        """A group whose input is laid out for it alone runs other programs."""
        (tensor,) = self._owner.groups.groups[group].reads
        item, form = self._owner.groups.tensors[tensor], self._owner.form_of[place]
        own = self._owner.costs.groups[group].at[place]
        change = self._sum(own.entry_programs) - self._sum(own.programs)
        if len(item.consumers) > 1 or place not in self._at[group] or not change:
            return
        written, known = self._in_form(item.producer, form)
        entering, here = self._variable(change), self._at[group][place]
        if change > 0:  # here and not written so
            row = {here: -1.0, entering: 1.0} | written
            self._rows.append((row, -known, np.inf))
        else:
            self._rows.append(({here: 1.0, entering: -1.0}, 0.0, np.inf))
            self._rows.append(({entering: 1.0} | written, -np.inf, 1.0 - known))

    def _border(self, tensor: int) -> None:
        """A tensor is brought into every form that a reader, or the caller, wants and nobody has
        written."""
        if self._price is not Price.ENERGY_PJ:
            return
        item = self._owner.groups.tensors[tensor]
        energy = self._owner.costs.tensors[tensor].convert_energy_pj
        for form in range(len(self._owner.costs.forms)):
            written, known = self._in_form(item.producer, form)
            wishes = [self._in_form(reader, form) for reader in item.consumers]
            if item.is_output and form == ON_CPU_FORM:
                wishes.append(({}, 1.0))
            brought = self._variable(energy)
            for wanted, wish in wishes:
                row = {brought: 1.0}
                for terms, sign in ((wanted, -1.0), (written, 1.0)):
                    for variable, factor in terms.items():
                        row[variable] = row.get(variable, 0.0) + sign * factor
                self._rows.append((row, wish - known, np.inf))

    def _in_form(self, group: int, form: int) -> tuple[dict[int, float], float]:
        """Whether a group writes and reads in a form, as terms and a constant."""
        if group == OUTSIDE:
            return {}, float(form == ON_CPU_FORM)
        own = self._at[group].items()
        return {v: 1.0 for place, v in own if self._owner.form_of[place] == form}, 0.0

    def solve(self) -> Placement | None:
        from scipy.optimize import Bounds, LinearConstraint  # loaded where used
        from scipy.sparse import csr_array

        entries = [
            (factor, row, variable)
            for row, (terms, _, _) in enumerate(self._rows)
            for variable, factor in terms.items()
        ]
        data, rows, columns = zip(*entries, strict=True)
        matrix = csr_array((data, (rows, columns)), shape=(len(self._rows), len(self._costs)))
        costs = np.array(self._costs, np.float64)
        whole = np.zeros(len(costs))
        whole[: self._whole] = 1
        result = solve(
            costs / max(1.0, float(np.abs(costs).max())),
            integrality=whole,
            bounds=Bounds(0.0, 1.0),
            constraints=LinearConstraint(
                matrix, [low for _, low, _ in self._rows], [high for _, _, high in self._rows]
            ),
            options={"mip_rel_gap": 0.0, "node_limit": _NODES},
        )
        if result.x is None:
            return None
        return tuple(
            max(own, key=lambda place, own=own: float(result.x[own[place]]))  # type: ignore[misc]
            for own in self._at
        )
