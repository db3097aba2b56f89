"""How a trial ended whose call failed."""

from __future__ import annotations

from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.trial import Outcome

_OUTCOMES = {
    "InfeasibleError": Outcome.INFEASIBLE,
    "InternalError": Outcome.CORRECTNESS,
    "CheckError": Outcome.CORRECTNESS,
    "InputError": Outcome.COMPILE,
    "NestTuneError": Outcome.COMPILE,
}


def classify(answer: Answer) -> Outcome:
    """The outcome of a trial whose call failed."""
    if answer.ending is Ending.TIMEOUT:
        return Outcome.TIMEOUT
    if answer.ending is Ending.LOST:
        return Outcome.RUNTIME
    return _OUTCOMES.get(answer.error, Outcome.RUNTIME)
