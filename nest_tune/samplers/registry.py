"""Samplers by name: entry points of the group ``nest_tune.samplers``.

A sampler may choose configurations for a study, schedules for a task, or both. What it declares
here is light; its makers are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.plugins.registry import Registry, load, named

if TYPE_CHECKING:
    from nest_tune.samplers.schedules.sampler import Problem, TilingSampler
    from nest_tune.study.proposals.problem import Proposer, SearchProblem
    from nest_tune.study.trial import OuterTrial

DEFAULT_SAMPLER = "xgb"
"""Where nobody names one."""

PROVING_SAMPLER = "exhaustive"
"""Goes through what another sampler has left, until the best is proven."""


@dataclass(frozen=True)
class SamplerKind:
    """A sampler and what it can do.

    Attributes:
        name: Of its entry point.
        summary: What it does, in a few words.
        configurations: ``module:function``, called ``(problem, history)`` for every batch of a
            study: a :class:`~nest_tune.study.proposals.problem.Proposer`; empty where it chooses
            none.
        schedules: ``module:function``, called ``(problem)`` for every task: a
            :class:`~nest_tune.samplers.schedules.sampler.TilingSampler`; empty where it chooses
            none.
        learns: Whether its schedules profit from a cost model that records of other tasks taught.
        exhausts: Whether it goes through all of a space, and ends where nothing is left.
    """

    name: str
    summary: str
    configurations: str = ""
    schedules: str = ""
    learns: bool = False
    exhausts: bool = False


SAMPLERS: Registry[SamplerKind] = Registry("nest_tune.samplers", "sampler", named(SamplerKind))


def schedule_sampler_names() -> tuple[str, ...]:
    """Samplers that choose schedules."""
    return tuple(name for name in SAMPLERS.names() if SAMPLERS.get(name).schedules)


def require_schedule_sampler(name: str) -> SamplerKind:
    """A sampler that chooses schedules.

    Raises:
        InputError: There is none of that name, or it chooses configurations alone.
    """
    kind = SAMPLERS.get(name)
    if not kind.schedules:
        raise InputError(
            f"sampler {name!r} chooses configurations of studies, no schedules of tasks",
            hint=f"samplers of schedules: {', '.join(schedule_sampler_names())}",
        )
    return kind


def require_configuration_sampler(name: str, where: str = "") -> SamplerKind:
    """A sampler that chooses configurations.

    Args:
        name: Of the sampler.
        where: What asks for it, as the beginning of the message.

    Raises:
        InputError: There is none of that name, or it chooses schedules alone.
    """
    kind = SAMPLERS.get(SAMPLERS.require(name, where))
    if not kind.configurations:
        raise InputError(
            f"{where and f'{where}: '}sampler {name!r} chooses schedules of tasks alone, no "
            "configurations of studies"
        )
    return kind


def sampler_of_tasks(name: str) -> str:
    """The sampler of schedules in a study of this sampler: itself, where that ends in time."""
    kind = SAMPLERS.get(name)
    return name if kind.schedules and not kind.exhausts else DEFAULT_SAMPLER


def make_schedule_sampler(name: str, problem: Problem) -> TilingSampler:
    """A sampler of a task's schedules.

    Raises:
        InputError: As :func:`require_schedule_sampler`, or it cannot be loaded.
    """
    make: Any = load(require_schedule_sampler(name).schedules, f"sampler {name!r}: schedules")
    made: TilingSampler = make(problem)
    return made


def make_proposer(problem: SearchProblem, history: Sequence[OuterTrial]) -> Proposer:
    """A sampler of a study's configurations, for one batch.

    Raises:
        InputError: As :func:`require_configuration_sampler`, or it cannot be loaded.
    """
    name = problem.sampler
    kind = require_configuration_sampler(name)
    make: Any = load(kind.configurations, f"sampler {name!r}: configurations")
    made: Proposer = make(problem, history)
    return made
