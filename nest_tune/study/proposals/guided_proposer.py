"""Configurations by the XGBoost-guided sampler, as a proposer."""

from __future__ import annotations

from nest_tune.study.proposals.guided import GuidedProposals
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.observed import Observed
from nest_tune.study.proposals.problem import PREDICTED, Asked, SearchProblem, stream_seed
from nest_tune.study.trial import Point


def make(problem: SearchProblem, history: History) -> GuidedProposer:
    """A proposer for one trial."""
    return GuidedProposer(problem, history)


class GuidedProposer:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`."""

    def __init__(self, problem: SearchProblem, history: History) -> None:
        self._seed = problem.seed
        pending = [proposal.point for proposal in history.pending]
        self._guided = GuidedProposals(problem, Observed.of(problem, history), pending)

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        found = self._guided.propose(number, stream_seed(self._seed, number), seen)
        if found is None:
            return None
        point, expected = found
        return point, {PREDICTED: expected} if expected else {}
