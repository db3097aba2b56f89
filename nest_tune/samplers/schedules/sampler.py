"""The seam of schedule samplers: propose points, observe what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.units.unit import Machine
from search_spaces.task_space import TaskSpace

if TYPE_CHECKING:
    from cost_models.boosted import BoostedModel

Point = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """One task to be tuned.

    Attributes:
        space: Its schedules.
        machine: Where they run.
        default: Canonical point of the untuned schedule.
        seed: Of everything random.
        base: Cost model learnt from records of other tasks, ``None`` where there is none.
    """

    space: TaskSpace
    machine: Machine
    default: Point
    seed: int
    base: BoostedModel | None = field(default=None, compare=False)


class TilingSampler(Protocol):
    """Chooses what to measure; at most four methods.

    A proposal is legal, canonical and never one that was proposed or observed before.
    """

    def propose(self, count: int) -> list[Point]:
        """At most ``count`` points; fewer, or none, where the space has no more."""
        ...

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        """Takes in measured cycles, ``None`` where a measurement failed, in proposal order."""
        ...

    def expected_gain(self) -> float:
        """Cycles that further measurements are expected to save; infinite where unknown."""
        ...


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
