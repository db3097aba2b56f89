"""Configurations by the XGBoost-guided sampler, as a proposer."""

from __future__ import annotations

from collections.abc import Sequence

from nest_tune.study.proposals.guided import GuidedProposals
from nest_tune.study.proposals.problem import PREDICTED, Asked, SearchProblem, stream_seed
from nest_tune.study.trial import OuterTrial, Point


def make(problem: SearchProblem, history: Sequence[OuterTrial]) -> GuidedProposer:
    """A proposer for one batch."""
    return GuidedProposer(problem, history)


class GuidedProposer:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`."""

    def __init__(self, problem: SearchProblem, history: Sequence[OuterTrial]) -> None:
        self._seed = problem.seed
        self._guided = GuidedProposals(problem, history, stream_seed(problem.seed, len(history)))

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        found = self._guided.propose(number, stream_seed(self._seed, number), seen)
        if found is None:
            return None
        point, expected = found
        return point, {PREDICTED: expected} if expected else {}
