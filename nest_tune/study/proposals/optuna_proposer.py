"""Configurations from samplers of Optuna's kind, which see a study in memory."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial

from compiler_core.errors import NestTuneError
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.optuna_making import Make, lacking, make_sampler
from nest_tune.study.proposals.problem import ATTEMPTS, Asked, SearchProblem, stream_seed
from nest_tune.study.proposals.sampler_traits import Traits, hears_results, traits_of
from nest_tune.study.proposals.sampler_warnings import warnings_once
from nest_tune.study.proposals.view import SAMPLER, InMemoryStudy
from nest_tune.study.trial import Point

_STARTUP = 10


def tpe(seed: int, **arguments: Any) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimators, with every argument that matters given."""
    usual: dict[str, Any] = {
        "n_startup_trials": _STARTUP,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,
        "constant_liar": True,
    }
    return optuna.samplers.TPESampler(seed=seed, **(usual | arguments))


def nsga2(seed: int, **arguments: Any) -> optuna.samplers.BaseSampler:
    """NSGA-II, with every argument that matters given."""
    usual: dict[str, Any] = {"population_size": 24, "crossover_prob": 0.9, "swapping_prob": 0.5}
    return optuna.samplers.NSGAIISampler(seed=seed, **(usual | arguments))


def random(seed: int) -> optuna.samplers.BaseSampler:
    """Uniformly at random."""
    return optuna.samplers.RandomSampler(seed=seed)


class OptunaProposer:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`.

    Args:
        problem: What is searched.
        history: What may be known.
        make: Makes a sampler, see :func:`~nest_tune.study.proposals.optuna_making.make_sampler`.
    """

    def __init__(self, problem: SearchProblem, history: History, make: Make) -> None:
        self._problem, self._history, self._make = problem, history, make

    @property
    def _traits(self) -> Traits:
        return traits_of(self._problem, self._make)

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        try:
            return self._ask(number, seen)
        except NestTuneError:
            raise
        except ImportError as error:
            raise lacking(self._problem, error) from error
        except (Exception, SystemExit) as error:  # whatever a sampler does, it is named
            raise NestTuneError(
                f"sampler {self._problem.sampler!r}: trial {number}: {type(error).__name__}: "
                f"{error}",
                hint="another --sampler, or others of its arguments",
            ) from error

    def _ask(self, number: int, seen: set[Point]) -> Asked | None:
        view = self._view(number)
        before = view.study_attributes()
        sampler = self._sampler(number, 0)
        with warnings_once(self._problem.sampler):
            trial = view.begin(sampler)
            for attempt in range(ATTEMPTS):
                if attempt:
                    view.study.sampler = self._sampler(number, attempt)
                    trial = optuna.Trial(view.study, trial._trial_id)
                point = view.sampled(trial)
                if point not in seen and self._problem.space.is_legal(point):
                    view.settle(trial._trial_id, point)
                    written = view.attributes(trial._trial_id, before)
                    return point, {SAMPLER: written} if written else {}
        # What was written while nothing came of it is forgotten with the view.
        self._problem.memory.pop("view", None)
        return None

    def _view(self, number: int) -> InMemoryStudy:
        view: InMemoryStudy | None = self._problem.memory.get("view")
        if view is None or not view.follows(self._history, number):
            view = InMemoryStudy(self._problem, numbers=self._traits.numbers)
            self._problem.memory["view"] = view
        view.show(self._history, number, self._tell)
        return view

    def _tell(self, study: optuna.Study, trial: FrozenTrial, *ended: Any) -> None:
        """Tells a sampler that wants it of a trial that has ended; one that lives, once."""
        sampler = self._sampler(trial.number, 0)
        if not hears_results(sampler):
            return
        if self._traits.keeps_state:
            told: set[int] = self._problem.memory.setdefault("told", set())
            if trial.number in told:
                return
            told.add(trial.number)
        study.sampler = sampler
        sampler.after_trial(study, trial, *ended)

    def _sampler(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = stream_seed(self._problem.seed, number, attempt)
        if not self._traits.keeps_state:
            return self._made(seed)
        memory = self._problem.memory
        if "kept" not in memory:
            memory["kept"] = self._made(stream_seed(self._problem.seed, 0))
        kept: optuna.samplers.BaseSampler = memory["kept"]
        return kept

    def _made(self, seed: int) -> optuna.samplers.BaseSampler:
        return make_sampler(self._problem, self._make, seed, numbers=self._traits.numbers)
