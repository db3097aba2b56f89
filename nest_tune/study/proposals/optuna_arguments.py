"""Arguments of Optuna's samplers that are objects: other samplers and crossovers, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import optuna

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from nest_tune.samplers.registry import load_configuration_sampler
from nest_tune.study.proposals.offered import domain_of
from nest_tune.study.proposals.problem import SearchProblem

_SAMPLER = "_sampler"
"""End of the names of arguments that are samplers."""
_CROSSOVER = "crossover"


def parameters_of(make: Any) -> set[str]:
    """Names of the arguments of what makes a sampler."""
    try:
        return set(inspect.signature(make).parameters)
    except (TypeError, ValueError):  # made in C
        return set()


def with_objects(arguments: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """Arguments of a sampler with the objects that texts name: ``base_sampler = "TPESampler"``,
    ``{name = "TPESampler", n_startup_trials = 5}``, ``crossover = "UniformCrossover"``.

    Args:
        arguments: As given.
        seed: Of the samplers that are made.

    Raises:
        InputError: There is no such sampler or crossover, or it does not take its arguments.
    """
    return {name: _object(name, value, seed) for name, value in arguments.items()}


def partial_fixed(
    seed: int,
    problem: SearchProblem,
    fixed_params: Mapping[str, Any],
    base_sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.samplers.BaseSampler:
    """Optuna's sampler that holds some decisions and leaves the others to another sampler.

    Args:
        seed: Of the other sampler where none is given.
        problem: Whose decisions they are.
        fixed_params: Values by the names of decisions.
        base_sampler: The other sampler; TPE where none is given.

    Raises:
        InputError: There is no such decision, or it has no such value.
    """
    domain = domain_of(problem.space)
    known = dict(zip(domain.names, domain.choices, strict=True))
    for name, value in fixed_params.items():
        if name not in known:
            raise InputError(
                f"sampler {problem.sampler!r}: fixed_params: there is no decision {name!r}",
                hint=did_you_mean(name, known) or "nest-tune space show names all decisions",
            )
        if value not in known[name]:
            raise InputError(
                f"sampler {problem.sampler!r}: fixed_params: {name}: {value!r} is none of "
                + ", ".join(map(repr, known[name]))
            )
    base = base_sampler or optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.PartialFixedSampler(dict(fixed_params), base)


def _object(name: str, value: Any, seed: int | None) -> Any:
    if name == _CROSSOVER and isinstance(value, str):
        return _crossover(value)
    if name.endswith(_SAMPLER) and isinstance(value, str | Mapping):
        given = {"name": value} if isinstance(value, str) else dict(value)
        return _sampler(name, given, seed)
    return value


def _sampler(where: str, given: dict[str, Any], seed: int | None) -> Any:
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"sampler.arguments.{where}: its name is missing")
    make, is_optuna = load_configuration_sampler(name)
    if not is_optuna:
        raise InputError(f"sampler.arguments.{where}: {name!r} is no sampler of Optuna's kind")
    arguments = with_objects(given, seed)
    if "seed" in parameters_of(make):
        arguments.setdefault("seed", seed)
    try:
        return make(**arguments)
    except TypeError as error:
        raise InputError(f"sampler.arguments.{where}: {name!r}: {error}") from error


def _crossover(name: str) -> Any:
    known = [n for n in optuna.samplers.nsgaii.__all__ if n.endswith("Crossover")]
    names = [n for n in known if n != "BaseCrossover"]
    if name not in names:
        raise InputError(
            f"sampler.arguments.crossover: {name!r} is not known; known are {', '.join(names)}",
            hint=did_you_mean(name, names),
        )
    return getattr(optuna.samplers.nsgaii, name)()
