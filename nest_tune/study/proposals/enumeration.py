"""Configurations one after another, in the order of the space."""

from __future__ import annotations

from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.problem import Asked, SearchProblem
from nest_tune.study.trial import Point


def make(problem: SearchProblem, history: History) -> Enumeration:
    """A proposer for one trial."""
    del history
    return Enumeration(problem)


class Enumeration:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`."""

    def __init__(self, problem: SearchProblem) -> None:
        self._points = problem.space.enumerate()

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        del number
        return next(((point, {}) for point in self._points if point not in seen), None)
