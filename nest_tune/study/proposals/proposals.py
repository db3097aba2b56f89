"""What to try next: one proposal from the study's sampler.

A proposal is a pure function of (seed, space, what it may know): the random stream of each trial
derives from (study seed, trial number), and samplers are made anew for every trial. So the number
of workers, a kill or a resume cannot change it. No point is proposed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nest_tune.samplers.registry import configuration_sampler
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.making import make_proposer
from nest_tune.study.proposals.problem import ATTEMPTS, Asked, SearchProblem, stream_seed
from nest_tune.study.trial import OuterTrial, Point, Proposal
from search_spaces.joint import JointSpace

Moves = Callable[[Sequence[OuterTrial], set[Point], int], Asked | None]
"""What is tried in the place of a sampler's proposal: of trials, points that were proposed, and the
number of the trial; ``None`` where the sampler is to be asked."""


def propose(
    problem: SearchProblem,
    history: History,
    number: int,
    moves: Moves = lambda _trials, _seen, _number: None,
) -> Proposal | None:
    """The next trial; ``None`` where nothing is left to try.

    Args:
        problem: What is searched.
        history: What the trial may know: with ``history.pending``, all trials before it.
        number: Of the trial.
        moves: Asked before the sampler, once all guesses have been tried.
    """
    space = problem.space
    if number == 0:
        return Proposal(0, space.default, tuned=False)
    seen = {trial.point for trial in history.trials if trial.tuned == problem.tuned}
    seen |= {trial.point for trial in history.pending if trial.tuned == problem.tuned}
    for point in (*history.enqueued, space.start, *space.known_guesses):
        if point not in seen:
            return Proposal(number, point, problem.tuned)
    if not space.parameters or _is_exhausted(space, seen):
        return None
    found = moves(history, seen, number)
    if found is None or not space.is_legal(found[0]):
        found = make_proposer(problem, history).ask(number, seen)
    if found is None and not configuration_sampler(problem.sampler).exhausts:
        found = _unseen(problem, history, number, seen)
    return None if found is None else Proposal(number, found[0], problem.tuned, found[1])


def _is_exhausted(space: JointSpace, seen: set[Point]) -> bool:
    size = space.product_size
    return len(seen) >= size and sum(map(space.is_legal, seen)) >= size


def _unseen(
    problem: SearchProblem, history: Sequence[OuterTrial], number: int, seen: set[Point]
) -> Asked | None:
    """A point that nobody has tried: near the front first, then anywhere."""
    space = problem.space
    generator = np.random.default_rng(stream_seed(problem.seed, number, ATTEMPTS))
    starts = [trial.point for trial in pareto_front(history, problem.objectives)]
    near = sorted({n for start in starts for n in space.neighbours(start)} - seen)
    if near:
        return near[int(generator.integers(len(near)))], {}
    for _ in range(256):
        point = space.sample(generator)
        if point not in seen:
            return point, {}
    if space.product_size <= 1 << 16:
        left = [point for point in space.enumerate() if point not in seen]
        if left:
            return left[int(generator.integers(len(left)))], {}
    return None
