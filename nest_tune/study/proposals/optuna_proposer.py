"""Configurations from samplers of Optuna's kind, which see a study in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import optuna

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.offered import distributions_of, wants_numbers
from nest_tune.study.proposals.optuna_arguments import parameters_of, with_objects
from nest_tune.study.proposals.problem import ATTEMPTS, Asked, SearchProblem, stream_seed
from nest_tune.study.proposals.view import SAMPLER, InMemoryStudy
from nest_tune.study.trial import Point

optuna.logging.set_verbosity(optuna.logging.ERROR)

Make = Callable[..., optuna.samplers.BaseSampler]
"""A class of samplers, or what makes one."""

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


def keeps_state(make: Make) -> bool:
    """Whether samplers cannot be made anew for each trial: nobody can give them a seed. Such a
    sampler lives as long as a run does, and what it proposes depends on what it has seen there."""
    return "seed" not in parameters_of(make)


class OptunaProposer:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`.

    Args:
        problem: What is searched.
        history: What may be known.
        make: Makes a sampler: called with the problem's arguments, and with those of ``seed``,
            ``problem`` and ``search_space`` (values by name) that it takes.
    """

    def __init__(self, problem: SearchProblem, history: History, make: Make) -> None:
        self._problem, self._history, self._make = problem, history, make

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        try:
            return self._ask(number, seen)
        except NestTuneError:
            raise
        except ImportError as error:
            raise _lacking(self._problem, error) from error
        except Exception as error:  # whatever a sampler does, it is named
            raise NestTuneError(
                f"sampler {self._problem.sampler!r}: trial {number}: {type(error).__name__}: "
                f"{error}",
                hint="another --sampler, or others of its arguments",
            ) from error

    def _ask(self, number: int, seen: set[Point]) -> Asked | None:
        view = self._view(number)
        before = view.study_attributes()
        sampler = self._sampler(number, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
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
            view = InMemoryStudy(self._problem, numbers=wants_numbers(self._make))
            self._problem.memory["view"] = view
        view.show(self._history, number)
        return view

    def _sampler(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        if keeps_state(self._make):
            memory = self._problem.memory
            if "kept" not in memory:
                memory["kept"] = make_sampler(self._problem, self._make, None)
            kept: optuna.samplers.BaseSampler = memory["kept"]
            return kept
        seed = stream_seed(self._problem.seed, number, attempt)
        return make_sampler(self._problem, self._make, seed)


def _lacking(problem: SearchProblem, error: ImportError) -> MissingDependencyError:
    package = error.name or "the package that it asks for"
    return MissingDependencyError(
        f"sampler {problem.sampler!r}: {type(error).__name__}: {error}",
        hint=f"install {package} beside nest-tune, or another --sampler",
    )


_LISTED = 1 << 13
"""Points that a sampler may write down before its first."""


def _require_listable(problem: SearchProblem) -> None:
    """Refuses samplers that write down all points of a large space.

    Raises:
        InputError: There are too many.
    """
    if "search_space" not in problem.arguments and problem.space.product_size > _LISTED:
        raise InputError(
            f"sampler {problem.sampler!r}: it writes down all points, and the space has "
            f"{problem.space.product_size:.3g}; at most {_LISTED} are allowed",
            hint="narrow decisions by --value DECISION=VALUE, or --sampler exhaustive",
        )


def make_sampler(
    problem: SearchProblem, make: Make, seed: int | None
) -> optuna.samplers.BaseSampler:
    """A sampler for a problem.

    Raises:
        InputError: It does not take the arguments, or what was made is no sampler.
        MissingDependencyError: It needs a package that is not installed.
    """
    known = parameters_of(make)
    given = with_objects(problem.arguments, seed)
    if "seed" in known and seed is not None:
        given.setdefault("seed", seed)
    if "problem" in known:
        given.setdefault("problem", problem)
    if "search_space" in known:
        _require_listable(problem)
        spread = distributions_of(problem.space)
        given.setdefault("search_space", {name: list(d.choices) for name, d in spread.items()})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = make(**given)
    except ImportError as error:
        raise _lacking(problem, error) from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"sampler {problem.sampler!r}: {error}", hint="[sampler.arguments] of the study file"
        ) from error
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise InputError(
            f"sampler {problem.sampler!r}: a {type(made).__name__} was made; a subclass of "
            "optuna.samplers.BaseSampler is needed"
        )
    return made
