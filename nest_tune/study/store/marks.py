"""What exempts a study from giving the same trials again: it is marked so wherever it is shown."""

from __future__ import annotations

from nest_tune.samplers.registry import DEFAULT_SAMPLER, load_configuration_sampler
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.stored_study import StoredStudy

ASYNCHRONOUS = "asynchronous"
KEEPS_STATE = "sampler keeps a state"


def marks_of(settings: StudySettings, problem: SearchProblem) -> tuple[str, ...]:
    """The marks of a study that is being made.

    Raises:
        InputError: Its sampler cannot be loaded.
    """
    found = [ASYNCHRONOUS] if settings.asynchronous else []
    if settings.sampler != DEFAULT_SAMPLER:
        make, is_optuna = load_configuration_sampler(settings.sampler)
        if is_optuna:
            from nest_tune.study.proposals.sampler_traits import traits_of

            found += [KEEPS_STATE] if traits_of(problem, make).keeps_state else []
    return tuple(found)


def marks(study: StoredStudy) -> tuple[str, ...]:
    """The marks that a study was made with."""
    stored = study.document.get("marks", [])
    return tuple(map(str, stored)) if isinstance(stored, list) else ()
