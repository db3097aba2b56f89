"""The last step of a study: is every single decision of the chosen trial worth it?

The chosen trial is the one that the study would hand out now: of those that chance alone tells
apart the more faithful one. Each of its decisions that is not the default's is changed back once,
everything else kept; then decisions are changed to their neighbours. What turns out better is
chosen from then on, and looked at in the same way. All of it are trials of the budget: the step
begins when as many trials are left as it asks for, at the earliest after half of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from nest_tune.study.choice.chance import chosen_of
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.problem import Asked, SearchProblem
from nest_tune.study.trial import OuterTrial, Point

MOVE = "move"
"""Attribute of a trial that no sampler proposed: why it was tried."""
OF = "of"
"""Attribute beside it: the number of the trial that it differs from."""

_NEAR = 8
"""One trial of so many is kept for neighbours."""


def last_step(
    problem: SearchProblem,
    trials: Sequence[OuterTrial],
    seen: set[Point],
    *,
    left: int,
    budget: int,
    rule: str = "",
    metric: str = "",
) -> Asked | None:
    """What the last step tries next; ``None`` where it has not begun, or has nothing left.

    Args:
        problem: What is searched.
        trials: Finished ones.
        seen: Points that have been proposed.
        left: Trials of the budget that are not proposed yet.
        budget: All trials.
        rule: By which a trial is chosen; empty for the one that follows from the limits.
        metric: Of accuracy, by name.
    """
    if left < 1 or 2 * left > budget:
        return None
    front = pareto_front(trials, problem.objectives)
    chosen = chosen_of(front, trials, problem.objectives, problem.limits, rule, metric)
    if chosen is None:
        return None
    back = _unseen(changed_back(problem, chosen.point), seen, problem)
    near = _unseen(problem.space.neighbours(chosen.point), seen, problem)
    near = [point for point in near if point not in back]
    if left > len(back) + min(len(near), budget // _NEAR):
        return None
    for reason, points in (("changed back", back), ("changed to a neighbour", near)):
        if points:
            return points[0], {MOVE: reason, OF: chosen.number}
    return None


def changed_back(problem: SearchProblem, point: Point) -> list[Point]:
    """Legal points with one decision as in the default."""
    default = problem.space.default
    found = [
        (*point[:axis], usual, *point[axis + 1 :])
        for axis, (value, usual) in enumerate(zip(point, default, strict=True))
        if value != usual
    ]
    return [candidate for candidate in found if problem.space.is_legal(candidate)]


def _unseen(points: Sequence[Point], seen: set[Point], problem: SearchProblem) -> list[Point]:
    """Points that nobody has tried, those that promise the least cost first."""
    fresh = [point for point in points if point not in seen]

    def cost(point: Point) -> tuple[float, Point]:
        return problem.price(point) or inf, point

    return sorted(fresh, key=cost)
