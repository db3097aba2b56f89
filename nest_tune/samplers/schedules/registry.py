"""Samplers of schedules by name."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from nest_tune.samplers.schedules.sampler import Problem, TilingSampler


def sampler_names() -> tuple[str, ...]:
    """Names that :func:`make_sampler` knows."""
    return tuple(_MAKERS)


def require_sampler(name: str) -> None:
    """Refuses a name that :func:`make_sampler` does not know.

    Raises:
        InputError: Names the nearest known one.
    """
    if name not in _MAKERS:
        raise InputError(
            f"sampler {name!r}; known are {', '.join(_MAKERS)}", hint=did_you_mean(name, _MAKERS)
        )


def make_sampler(name: str, problem: Problem) -> TilingSampler:
    """A sampler by name.

    Raises:
        InputError: There is none of that name.
    """
    require_sampler(name)
    return _MAKERS[name](problem)


def _guided(problem: Problem) -> TilingSampler:
    from nest_tune.samplers.schedules.guided import GuidedSampler

    return GuidedSampler(problem)


def _optuna(name: str) -> Callable[[Problem], TilingSampler]:
    def make(problem: Problem) -> TilingSampler:
        from nest_tune.samplers.schedules.optuna_bridge import OptunaTilingSampler

        return OptunaTilingSampler(problem, name)

    return make


def _random(problem: Problem) -> TilingSampler:
    from nest_tune.samplers.schedules.plain import RandomSampler

    return RandomSampler(problem)


def _exhaustive(problem: Problem) -> TilingSampler:
    from nest_tune.samplers.schedules.exhaustive import ExhaustiveSampler

    return ExhaustiveSampler(problem)


_MAKERS: dict[str, Callable[[Problem], TilingSampler]] = {
    "xgb": _guided,
    "tpe": _optuna("tpe"),
    "nsga2": _optuna("nsga2"),
    "random": _random,
    "exhaustive": _exhaustive,
}
