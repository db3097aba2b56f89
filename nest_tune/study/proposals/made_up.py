"""Results that nobody has measured, to try samplers on."""

from __future__ import annotations

import numpy as np

from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.trial import Outcome, OuterTrial


def made_up_trials(problem: SearchProblem, count: int) -> tuple[OuterTrial, ...]:
    """The default and drawn points, with drawn results of all that is asked for."""
    generator = np.random.default_rng(0)
    names = {goal.metric.value for goal in problem.objectives}
    names |= {limit.metric.value for limit in problem.limits}
    return tuple(
        OuterTrial(
            number,
            problem.space.sample(generator) if number else problem.space.default,
            False,
            Outcome.COMPLETE,
            {name: float(generator.uniform(1.0, 2.0)) for name in sorted(names)},
        )
        for number in range(count)
    )
