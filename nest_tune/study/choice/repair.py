"""Repair moves: which operators to move so that a scheme that just misses a limit keeps it.

A scheme loses accuracy by the noise of its layers. What each layer adds *under that scheme* is
measured once: the noise of the whole with that layer elsewhere (on the CPU, or on a unit with more
bits), everything else kept. What a move costs, in what the study wants to be small first (latency,
energy, bytes), is told by the cost tables, for runs of neighbouring operators together, for they
share their borders. Then a knapsack says which runs to move: the noise to be removed at the least
cost. The same backwards from a trial with room: the cost to be saved at the most noise that the
limit has room for.

| symbol | meaning |
|---|---|
| ``r`` | noise of the scheme, as a share of the power of the outputs |
| ``r[m]`` | the same with move ``m`` made |
| ``D``, ``L`` | what is lost of the accuracy, and what may be |

How much noise keeps the limit is not known, only that more of it loses more: of the noise that a
share ``1 - L / D`` of the loss stands for, several multiples are tried.

The program is a set packing with one covering row, solved to the optimum by HiGHS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.integer_programs import solve
from compiler_core.sums import float_sum
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import Limit, TrialMetric
from nest_tune.study.trial import OuterTrial, Point
from search_spaces.joint import OuterPoint, SpacePart

LEVELS = (1.0, 1.3, 0.75, 1.7, 0.5)
"""Multiples of the noise that has to go, the likeliest first: so many plans are tried."""

NEAR = 0.03
"""A scheme that misses the limit by more is not repaired."""

_RUN = 8
"""Neighbouring operators that move together, at most."""

_NODES = 10_000
"""Of the search for a packing: a count, so that a loaded machine finds the same."""

Move = tuple[int, int]
"""Decision of the part, and the value that it gets."""


@dataclass(frozen=True)
class Base:
    """A trial that moves start from.

    Attributes:
        trial: The trial.
        share: Of its noise: what has to go, below 0 what may come.
    """

    trial: OuterTrial
    share: float

    @property
    def is_repair(self) -> bool:
        """Whether it misses a limit; else it has room."""
        return self.share > 0


def accuracy_limit(problem: SearchProblem) -> Limit | None:
    """The limit on accuracy, of its loss first; ``None`` where there is none."""
    found = {limit.metric: limit for limit in problem.limits if limit.metric.needs_evaluation}
    return found.get(TrialMetric.ACCURACY_DROP) or found.get(TrialMetric.ACCURACY)


def bases(problem: SearchProblem, trials: Sequence[OuterTrial], scheme: slice) -> list[Base]:
    """Trials worth moving from: of each scheme that misses the limit by little, the fastest that
    would be better than the best one; and the best one, where it has room.

    Args:
        problem: What is searched.
        trials: Finished ones.
        scheme: Where the decisions of a scheme stand in a point.
    """
    limit, goal = accuracy_limit(problem), problem.objectives[0]
    if limit is None or goal.metric.needs_evaluation:
        return []
    name = goal.metric.value
    measured = [trial for trial in trials if trial.outcome.is_measured]
    feasible = [trial for trial in measured if trial.is_feasible and trial.settled]
    best = min(feasible, key=lambda t: (goal.loss(t.metrics[name]), t.number), default=None)
    found: dict[Point, OuterTrial] = {}
    for trial in measured:
        if trial.is_feasible or not 0 < limit.excess(trial.judged[limit.metric.value]) <= NEAR:
            continue
        if best is not None and goal.loss(trial.metrics[name]) >= goal.loss(best.metrics[name]):
            continue
        rank = (goal.loss(trial.metrics[name]), trial.number)
        known = found.get(trial.point[scheme])
        if known is None or rank < (goal.loss(known.metrics[name]), known.number):
            found[trial.point[scheme]] = trial
    broken = sorted(found.values(), key=lambda t: (_excess(limit, t), t.number))
    kept = [Base(trial, _share(limit, trial)) for trial in broken]
    if best is not None and (room := _share(limit, best)) < 0:
        kept.append(Base(best, room))
    return kept


def _excess(limit: Limit, trial: OuterTrial) -> float:
    return limit.excess(trial.judged[limit.metric.value])


def _share(limit: Limit, trial: OuterTrial) -> float:
    """``1 - L / D``: what share of the loss is too much, below 0 what share more would be allowed,
    at most as much again."""
    lost = max(trial.judged[TrialMetric.ACCURACY_DROP.value], 0.0)
    excess = max(
        limit.low - trial.judged[limit.metric.value], trial.judged[limit.metric.value] - limit.high
    )
    if excess > 0:
        return min(1.0, excess / max(lost, excess))
    allowed = lost - excess
    return max(-1.0, excess / max(lost, allowed / 4, 1e-9))


def moves_of(part: SpacePart, block: OuterPoint, base: Base, home: str) -> list[Move]:
    """Single moves whose damage has to be known: away from where an operator computes in fewer bits
    for a repair, else back from home.

    Args:
        part: Of the placements.
        block: The placement that moves start from.
        base: What for.
        home: Value of decisions that stands for float.
    """
    found = []
    for axis, parameter in enumerate(part.parameters):
        here = parameter.values[block[axis]]
        if base.is_repair == (here == home):
            continue
        for value, name in enumerate(parameter.values):
            if value != block[axis] and (name == home or not base.is_repair):
                found.append((axis, value))
    return found


def plans(
    price: Callable[[OuterPoint], float],
    block: OuterPoint,
    base: Base,
    noise: float,
    moved: Mapping[Move, float],
) -> list[OuterPoint]:
    """Placements to try, the likeliest first.

    Args:
        price: Of a placement, by the cost tables.
        block: The placement of the base.
        base: What is moved from.
        noise: ``r``.
        moved: ``r[m]`` of single moves.
    """
    before = price(block)
    runs = _runs(block, moved)
    costs = np.array([price(after) - before for after, _ in runs])
    sign = 1.0 if base.is_repair else -1.0
    worth = np.array([float_sum(sign * (noise - moved[m]) for m in run) for _, run in runs])
    found: dict[OuterPoint, None] = {}
    for level in LEVELS:
        wanted = abs(base.share) * level * noise
        chosen = (
            _cover(costs, np.maximum(worth, 0.0), runs, min(wanted, 0.98 * noise))
            if base.is_repair
            else _pack(-costs, np.maximum(worth, 0.0), runs, wanted)
        )
        if chosen:
            after = list(block)
            for axis, value in (move for at in chosen for move in runs[at][1]):
                after[axis] = value
            found[tuple(after)] = None
    found.pop(block, None)
    return list(found)


_Floats = npt.NDArray[np.float64]
_Runs = list[tuple[OuterPoint, tuple[Move, ...]]]


def _runs(block: OuterPoint, moved: Mapping[Move, float]) -> _Runs:
    """Runs of neighbouring decisions set to one value, with what they move."""
    by_value: dict[int, list[int]] = {}
    for axis, value in sorted(moved):
        by_value.setdefault(value, []).append(axis)
    found: dict[OuterPoint, tuple[Move, ...]] = {}
    for value, axes in by_value.items():
        for start in range(len(axes)):
            for stop in range(start + 1, min(len(axes), start + _RUN) + 1):
                run = tuple((axis, value) for axis in axes[start:stop])
                after = list(block)
                for axis, _ in run:
                    after[axis] = value
                found.setdefault(tuple(after), run)
    return list(found.items())


def _cover(costs: _Floats, worth: _Floats, runs: _Runs, wanted: float) -> list[int]:
    """Runs that remove ``wanted`` at the least cost; none where that cannot be."""
    if not runs or wanted <= 0:
        return []
    return _solved(costs, worth / wanted, (1.0, np.inf), runs)


def _pack(gains: _Floats, worth: _Floats, runs: _Runs, room: float) -> list[int]:
    """Runs that gain most and bring at most ``room``."""
    if not runs or room <= 0:
        return []
    return _solved(-gains, worth / room, (-np.inf, 1.0), runs)


def _solved(
    objective: _Floats, row: _Floats, bounds: tuple[float, float], runs: _Runs
) -> list[int]:
    """Runs that share no decision, of which ``row`` lies within bounds, with the least sum of the
    objective."""
    axes = sorted({axis for _, run in runs for axis, _ in run})
    table = np.zeros((len(axes) + 1, len(runs)))
    for at, (_, run) in enumerate(runs):
        for axis, _ in run:
            table[axes.index(axis), at] = 1.0
    table[-1] = row
    from scipy.optimize import Bounds, LinearConstraint  # loaded where used: it takes long

    low = np.array([-np.inf] * len(axes) + [bounds[0]])
    high = np.array([1.0] * len(axes) + [bounds[1]])
    result = solve(
        objective,
        integrality=np.ones(len(runs)),
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(table, low, high),
        options={"mip_rel_gap": 0.0, "node_limit": _NODES},
    )
    if result.x is None:
        return []
    return [at for at, value in enumerate(result.x) if value > 0.5]
