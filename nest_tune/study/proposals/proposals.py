"""What to try next: batches of proposals from the study's sampler.

Proposals are a pure function of (seed, space, trials before the batch): a sampler is made anew for
every batch, and the random stream of each trial derives from (study seed, trial number). So the
number of workers, a kill or a resume cannot change them. No point is proposed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nest_tune.samplers.registry import SAMPLERS, make_proposer
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.problem import ATTEMPTS, Asked, SearchProblem, stream_seed
from nest_tune.study.trial import OuterTrial, Point, Proposal

Moves = Callable[[Sequence[OuterTrial], set[Point], int], Asked | None]
"""What is tried in the place of a sampler's proposal: of trials, points that were proposed, and the
number of the trial; ``None`` where the sampler is to be asked."""


def propose(
    problem: SearchProblem,
    history: Sequence[OuterTrial],
    first: int,
    count: int,
    moves: Moves = lambda _trials, _seen, _number: None,
) -> tuple[Proposal, ...]:
    """The next batch; fewer where the space is exhausted, none where nothing is left.

    Args:
        problem: What is searched.
        history: All trials before ``first``, by number.
        first: Number of the first trial of the batch.
        count: Wanted proposals.
        moves: Asked before the sampler, once all guesses have been tried.
    """
    space = problem.space
    if first == 0:
        return (Proposal(0, space.default, tuned=False),)
    seen = {trial.point for trial in history if trial.tuned == problem.tuned}
    batch: list[Proposal] = []

    def take(point: Point, attributes: Mapping[str, Any] | None = None) -> None:
        seen.add(point)
        batch.append(Proposal(first + len(batch), point, problem.tuned, attributes or {}))

    for point in (space.default, *space.guesses()):
        if point not in seen and len(batch) < count:
            take(point)
    if len(batch) < count and len(seen) < space.product_size and space.parameters:
        proposer = make_proposer(problem, history)
        exhausts = SAMPLERS.get(problem.sampler).exhausts
        while len(batch) < count:
            number = first + len(batch)
            found = moves(history, seen, number) or proposer.ask(number, seen)
            if found is None and not exhausts:
                found = _unseen(problem, history, number, seen)
            if found is None:
                break
            take(*found)
    return tuple(batch)


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
