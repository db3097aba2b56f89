"""Samplers by name: entry points of the group ``nest_tune.samplers``.

A sampler may choose configurations for a study, schedules for a task, or both. What it declares
here is light; its makers are imported when they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.plugins.registry import Registry, load, named
from nest_tune.user_modules import allow_folder, working_folder

if TYPE_CHECKING:
    from nest_tune.samplers.schedules.sampler import Problem, TilingSampler

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
        configurations: ``module:Class``, a subclass of ``optuna.samplers.BaseSampler``, made anew
            for every trial of a study; or ``module:function``, called ``(problem, history)`` for
            every trial: a :class:`~nest_tune.study.proposals.problem.Proposer`; empty where it
            chooses none.
        makes: Whether ``configurations`` is a function that makes a sampler of Optuna's kind.
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
    makes: bool = False


OPTUNA_SAMPLERS = (
    "BruteForceSampler",
    "CmaEsSampler",
    "GPSampler",
    "GridSampler",
    "NSGAIIISampler",
    "NSGAIISampler",
    "PartialFixedSampler",
    "QMCSampler",
    "RandomSampler",
    "TPESampler",
)
"""Those of Optuna that a name is enough for, with their own defaults."""

_MADE = {"PartialFixedSampler": "nest_tune.study.proposals.optuna_arguments:partial_fixed"}
"""What makes those whose class takes no seed."""

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
    kind = _optuna_kind(name)
    if kind is not None:
        return kind
    if name not in SAMPLERS.names() and ":" not in name:
        known = [*SAMPLERS.names(), *OPTUNA_SAMPLERS]
        raise InputError(
            f"{where and f'{where}: '}sampler {name!r} is not known; known are {', '.join(known)}, "
            "and module:Class",
            hint=did_you_mean(name, known) or f"an entry point of group {SAMPLERS.group} adds one",
        )
    kind = SAMPLERS.get(name)
    if not kind.configurations:
        raise InputError(
            f"{where and f'{where}: '}sampler {name!r} chooses schedules of tasks alone, no "
            "configurations of studies"
        )
    return kind


def sampler_of_tasks(name: str) -> str:
    """The sampler of schedules in a study of this sampler: itself, where that ends in time."""
    kind = configuration_sampler(name)
    return name if kind.schedules and not kind.exhausts else DEFAULT_SAMPLER


def configuration_sampler(name: str) -> SamplerKind:
    """What is known of a sampler: a registered one, one of Optuna's or a user's.

    Raises:
        InputError: There is none of that name.
    """
    return _optuna_kind(name) or SAMPLERS.get(name)


def _optuna_kind(name: str) -> SamplerKind | None:
    if ":" in name:
        return SamplerKind(name, "a user's", configurations=name, makes=True)
    if name in OPTUNA_SAMPLERS:
        return SamplerKind(name, "Optuna's", _MADE.get(name, f"optuna.samplers:{name}"), makes=True)
    return None


def make_schedule_sampler(name: str, problem: Problem) -> TilingSampler:
    """A sampler of a task's schedules.

    Raises:
        InputError: As :func:`require_schedule_sampler`, or it cannot be loaded.
    """
    make: Any = load(require_schedule_sampler(name).schedules, f"sampler {name!r}: schedules")
    made: TilingSampler = make(problem)
    return made


def load_configuration_sampler(name: str) -> tuple[Any, bool]:
    """What stands behind a sampler of configurations, and whether that makes a sampler of Optuna's
    kind, else a proposer.

    Raises:
        InputError: As :func:`require_configuration_sampler`, or it cannot be loaded.
    """
    import optuna

    kind = require_configuration_sampler(name)
    if ":" in name:
        allow_folder(working_folder())
    found: Any = load(kind.configurations, f"sampler {name!r}: configurations")
    is_class = isinstance(found, type) and issubclass(found, optuna.samplers.BaseSampler)
    return found, is_class or kind.makes
