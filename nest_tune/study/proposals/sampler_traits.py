"""What a sampler of Optuna's kind needs, where nothing but a try can tell.

Samplers of other people do not say whether they can do with categories, nor whether they carry
something from trial to trial. So those that are not Optuna's own propose two trials from made-up
results first:

- they are offered numbers where they refuse categories, or pass over them;
- they *keep a state* where one that has proposed two trials holds other attributes than one that
  has proposed the second alone; random streams and what Optuna's own objects hold do not count.
"""

from __future__ import annotations

import inspect
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna

from compiler_core.errors import NestTuneError
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.made_up import made_up_trials
from nest_tune.study.proposals.offered import wants_numbers
from nest_tune.study.proposals.optuna_arguments import parameters_of
from nest_tune.study.proposals.optuna_making import Make, make_sampler
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.proposals.sampler_warnings import tell_once
from nest_tune.study.proposals.view import InMemoryStudy
from nest_tune.study.trial import OuterTrial

_OPTUNA = "optuna"
_STREAMS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
_MEMORY = "traits"
_TRIALS = 12


@dataclass(frozen=True)
class Traits:
    """What a sampler needs.

    Attributes:
        numbers: It is offered the numbers of values.
        keeps_state: It lives as long as a run does, and what it proposes depends on what it has
            seen there: nobody can give it a seed, or it has been seen to carry something from trial
            to trial.
    """

    numbers: bool
    keeps_state: bool


def takes_seed(make: Make) -> bool:
    """Whether samplers can be made anew for each trial."""
    return "seed" in parameters_of(make)


def hears_results(sampler: optuna.samplers.BaseSampler) -> bool:
    """Whether a sampler wants to be told of every trial that ends; Optuna's own need not be."""
    return not type(sampler).after_trial.__module__.startswith(_OPTUNA)


def is_optunas(sampler: object) -> bool:
    """Whether a sampler is of one of Optuna's own classes."""
    return type(sampler).__module__.partition(".")[0] == _OPTUNA


def traits_of(problem: SearchProblem, make: Make) -> Traits:
    """What a sampler needs; it is found out once for a problem.

    Raises:
        InputError: It does not take the arguments, or what was made is no sampler.
        MissingDependencyError: It needs a package that is not installed.
    """
    if _MEMORY not in problem.memory:
        problem.memory[_MEMORY] = _found(problem, make)
    found: Traits = problem.memory[_MEMORY]
    return found


def _found(problem: SearchProblem, make: Make) -> Traits:
    usual = Traits(wants_numbers(make), not takes_seed(make))
    if inspect.isclass(make) and make.__module__.partition(".")[0] == _OPTUNA:
        return usual
    made = make_sampler(problem, make, 0)
    if is_optunas(made):
        return replace(usual, numbers=wants_numbers(type(made)))
    if not problem.space.parameters:
        return usual
    trials = made_up_trials(problem, _TRIALS + 1)
    tried = [_Trying(problem, make, trials, numbers=numbers) for numbers in (False, True)]
    # Where both fail, made-up results may be the reason: it is told, and not refused.
    best = max(tried, key=lambda one: one.together)
    if best.failure:
        tell_once(problem.sampler, f"failed with made-up results: {best.failure}")
    return Traits(best.numbers, usual.keeps_state or best.keeps_state)


class _Trying:
    """A sampler that proposes two trials.

    Args:
        problem: What is to be searched.
        make: Makes the sampler.
        trials: Made-up results.
        numbers: Whether it is offered numbers.

    Attributes:
        together: How many decisions it has chosen together for the second; -1 where it failed.
        failure: With what; empty where it did not.
        keeps_state: Whether it carries something from the first to the second.
    """

    def __init__(
        self, problem: SearchProblem, make: Make, trials: Sequence[OuterTrial], *, numbers: bool
    ) -> None:
        self.numbers, self.together, self.keeps_state = numbers, -1, False
        self.failure = ""
        self._problem = replace(problem)
        try:
            one, other = (make_sampler(problem, make, seed, numbers=numbers) for seed in (1, 2))
            born, others = own_state(one), own_state(other)
            self._propose(one, trials[:-1], told=len(trials))
            self.together = self._propose(one, trials, told=1)
            self._propose(other, trials, told=1)
        except NestTuneError:
            raise
        except (Exception, SystemExit) as error:  # whatever a sampler does
            self.failure = f"{type(error).__name__}: {error}"
            return
        grown = own_state(one)
        by_seed = {name for name in born if born[name] != others.get(name)}
        different = _different(grown, own_state(other)) - by_seed
        self.keeps_state = bool(different | (_different(grown, born) & by_seed))

    def _propose(
        self, sampler: optuna.samplers.BaseSampler, trials: Sequence[OuterTrial], told: int
    ) -> int:
        view = InMemoryStudy(self._problem, numbers=self.numbers)
        first = len(trials) - told

        def tell(study: optuna.Study, trial: Any, *ended: Any) -> None:
            if trial.number >= first and hears_results(sampler):
                sampler.after_trial(study, trial, *ended)

        view.show(History(tuple(trials)), len(trials), tell)
        trial = view.begin(sampler)
        view.sampled(trial)
        return len(trial.relative_params)


def own_state(sampler: object) -> dict[str, Any]:
    """Attributes of a sampler that are its own, by name; of samplers in it, theirs."""
    held = getattr(sampler, "__dict__", {})
    return {name: _image(value) for name, value in held.items() if not _is_foreign(value)}


def _is_foreign(value: object) -> bool:
    return is_optunas(value) or isinstance(value, _STREAMS)


def _image(value: object) -> object:
    if isinstance(value, optuna.samplers.BaseSampler):
        return own_state(value)
    try:
        return pickle.dumps(value)
    except Exception:  # what cannot be kept in a file is a lock, a connection, a function
        return type(value)


def _different(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
