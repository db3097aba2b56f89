"""The best choice per operator where operators and pairs of neighbours have costs: exact.

| symbol | meaning |
|---|---|
| ``x[i, p]`` | 1 where operator ``i`` has choice ``p`` |
| ``y[e, p, q]`` | 1 where the ends of pair ``e`` have choices ``p`` and ``q`` |
| ``c``, ``b`` | their costs |
| ``d[i, p]`` | damage that a choice does |

Least ``sum c x + sum b y`` with one choice each, ``sum_q y[e, p, q] = x[i, p]`` and likewise at the
other end, ``sum d x`` at most the room there is, and, for each plan that is already known, at least
so many operators otherwise. The relaxation is exact on trees; HiGHS closes what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from compiler_core.errors import InputError
from compiler_core.integer_programs import solve
from compiler_core.sums import float_sum

_NODES = 500
"""Of HiGHS' tree: a count, so that a loaded machine finds the same."""
_GAP = 1e-3
"""Below the noise of any clock."""


@dataclass(frozen=True)
class PairwiseProblem:
    """Choices and what they cost.

    Attributes:
        costs: ``c`` by operator.
        damages: ``d`` by operator, as many.
        pairs: ``b`` by pair of operators, one row per choice of the first.
    """

    costs: tuple[tuple[float, ...], ...]
    damages: tuple[tuple[float, ...], ...]
    pairs: Mapping[tuple[int, int], tuple[tuple[float, ...], ...]]

    def cost(self, choice: Sequence[int]) -> float:
        """Of a choice per operator."""
        own = float_sum(row[at] for row, at in zip(self.costs, choice, strict=True))
        return own + float_sum(b[choice[i]][choice[j]] for (i, j), b in self.pairs.items())

    def damage(self, choice: Sequence[int]) -> float:
        """Of a choice per operator."""
        return float_sum(row[at] for row, at in zip(self.damages, choice, strict=True))


@dataclass(frozen=True)
class PairwisePlan:
    """A choice per operator.

    Attributes:
        choice: By operator.
        cost: Its cost.
        bound: No choice that was allowed costs less.
    """

    choice: tuple[int, ...]
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """How much less another could cost at most, as a share."""
        return max(0.0, 1.0 - self.bound / self.cost) if self.cost > 0 else 0.0


@dataclass(frozen=True)
class Exclusion:
    """A plan that is known, and in how many operators another has to differ."""

    choice: tuple[int, ...]
    distance: int = 1


def best_pairwise(
    problem: PairwiseProblem,
    room: float | None = None,
    excluded: Sequence[Exclusion] = (),
) -> PairwisePlan | None:
    """The least cost within the room for damage; ``None`` where nothing is allowed.

    Raises:
        InputError: Costs are not finite.
    """
    if not all(np.isfinite(row).all() for row in problem.costs):
        raise InputError("costs of operators are not finite")
    if not problem.costs:
        return PairwisePlan((), 0.0, 0.0)
    return _Program(problem).solve(room, excluded)


class _Program:
    def __init__(self, problem: PairwiseProblem) -> None:
        self._problem = problem
        starts = np.cumsum([0, *(len(row) for row in problem.costs)])
        self._x = [range(a, b) for a, b in pairwise(starts.tolist())]
        self._objective = [value for row in problem.costs for value in row]
        self._integral = len(self._objective)
        self._high: list[float] = []
        self._rows: list[tuple[dict[int, float], float, float]] = []

    def solve(self, room: float | None, excluded: Sequence[Exclusion]) -> PairwisePlan | None:
        for own in self._x:
            self._rows.append((dict.fromkeys(own, 1.0), 1.0, 1.0))
        for (i, j), table in self._problem.pairs.items():
            self._pair(self._x[i], self._x[j], table)
        self._high = [1.0] * len(self._objective)
        if room is not None:
            self._room(room)
        for known in excluded:
            same = {own[at]: 1.0 for own, at in zip(self._x, known.choice, strict=True)}
            self._rows.append((same, -np.inf, float(len(self._x) - known.distance)))
        return self._run()

    def _pair(self, first: range, second: range, table: tuple[tuple[float, ...], ...]) -> None:
        at = len(self._objective)
        y = [[at + p * len(second) + q for q in range(len(second))] for p in range(len(first))]
        self._objective += [value for row in table for value in row]
        for p, x in enumerate(first):
            self._rows.append(({**dict.fromkeys(y[p], 1.0), x: -1.0}, 0.0, 0.0))
        for q, x in enumerate(second):
            column = {row[q]: 1.0 for row in y}
            self._rows.append(({**column, x: -1.0}, 0.0, 0.0))

    def _room(self, room: float) -> None:
        row = {}
        for own, damages in zip(self._x, self._problem.damages, strict=True):
            for x, damage in zip(own, damages, strict=True):
                if damage > room:
                    self._high[x] = 0.0
                elif damage:
                    row[x] = damage / room  # near 1 for the solver's tolerances
        if row:
            self._rows.append((row, -np.inf, 1.0))

    def _run(self) -> PairwisePlan | None:
        from scipy.optimize import Bounds, LinearConstraint  # loaded where used
        from scipy.sparse import csr_array

        numbers = [number for number, row in enumerate(self._rows) for _ in row[0]]
        columns = [column for row in self._rows for column in row[0]]
        values = [value for row in self._rows for value in row[0].values()]
        shape = (len(self._rows), len(self._objective))
        matrix = csr_array((values, (numbers, columns)), shape=shape)
        low = np.array([row[1] for row in self._rows])
        high = np.array([row[2] for row in self._rows])
        integral = np.zeros(len(self._objective))
        integral[: self._integral] = 1
        result = solve(
            np.array(self._objective),
            integrality=integral,
            bounds=Bounds(0.0, np.array(self._high)),
            constraints=LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": _GAP, "node_limit": _NODES},
        )
        if result.x is None:
            return None
        choice = tuple(int(np.argmax(result.x[own.start : own.stop])) for own in self._x)
        cost = self._problem.cost(choice)
        bound = getattr(result, "mip_dual_bound", None)
        return PairwisePlan(choice, cost, min(cost, cost if bound is None else float(bound)))
