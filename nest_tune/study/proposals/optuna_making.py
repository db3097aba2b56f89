"""Makes samplers of Optuna's kind for a problem."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import optuna

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.study.proposals.offered import Offered, distributions_of
from nest_tune.study.proposals.optuna_arguments import parameters_of, with_objects
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.proposals.sampler_warnings import warnings_once

Make = Callable[..., optuna.samplers.BaseSampler]
"""A class of samplers, or what makes one."""

_SPACE = "search_space"


def lacking(problem: SearchProblem, error: ImportError) -> MissingDependencyError:
    package = error.name or "the package that it asks for"
    return MissingDependencyError(
        f"sampler {problem.sampler!r}: {type(error).__name__}: {error}",
        hint=f"install {package} beside nest-tune, or another --sampler",
    )


_LISTED = 1 << 13
"""Points that a sampler may write down before its first."""


def _space(problem: SearchProblem, make: Make, *, numbers: bool) -> dict[str, Any]:
    """What the argument ``search_space`` of a sampler gets: Optuna's distributions by name where
    its annotation speaks of them, else values by name, as ``GridSampler`` takes them.

    Raises:
        InputError: There are too many points to write down.
    """
    annotation = inspect.signature(make).parameters[_SPACE].annotation
    if "Distribution" in str(annotation):
        return dict(Offered(problem.space, numbers=numbers).distributions)
    if problem.space.product_size > _LISTED:
        raise InputError(
            f"sampler {problem.sampler!r}: it writes down all points, and the space has "
            f"{problem.space.product_size:.3g}; at most {_LISTED} are allowed",
            hint="narrow decisions by --value DECISION=VALUE, or --sampler exhaustive",
        )
    return {name: list(d.choices) for name, d in distributions_of(problem.space).items()}


def make_sampler(
    problem: SearchProblem, make: Make, seed: int | None, *, numbers: bool = False
) -> optuna.samplers.BaseSampler:
    """A sampler for a problem: called with the problem's arguments, and with those of ``seed``,
    ``problem`` and ``search_space`` that it takes.

    Args:
        problem: What is searched.
        make: Makes the sampler.
        seed: Of the sampler.
        numbers: Whether it is offered numbers.

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
    if _SPACE in known and _SPACE not in given:
        given[_SPACE] = _space(problem, make, numbers=numbers)
    try:
        with warnings_once(problem.sampler):
            made = make(**given)
    except ImportError as error:
        raise lacking(problem, error) from error
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
