"""Whether Optuna shows the trials of a study as what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from compiler_core.errors import InputError, NestTuneError
from nest_tune.study.domain import Domain
from nest_tune.study.store.optuna_database import CONSTRAINT, number_of
from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_document import check_point
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.store.study_rows import study_key
from nest_tune.study.store.trial_document import KEY, read_trial
from nest_tune.study.trial import OuterTrial

_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NestTuneError,
    RuntimeError,
    SQLAlchemyError,
    TypeError,
    ValueError,
    optuna.exceptions.OptunaError,
)
"""What Optuna raises on rows that it never wrote."""


def shown_otherwise(storage: StudyStorage, study: StoredStudy) -> frozenset[int]:
    """Numbers of trials that Optuna shows with other values, decisions, constraints or another
    state than their documents say, or without a document.

    Args:
        storage: Where the study is.
        study: Of nest-tune.

    Raises:
        InputError: Optuna cannot read the study.
    """
    try:
        trials = optuna_study(storage, study.name).get_trials(deepcopy=False)
    except _UNREADABLE as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            f"Optuna cannot read its trials: {type(error).__name__}: {said}"
        ) from error
    shown = {number_of(t.system_attrs.get(KEY)): t for t in trials}  # later ones count
    domain = Domain(study.document.get("parameters", []))
    documents = {trial.number: trial for trial in _sound_trials(storage, study)}
    return frozenset(
        number
        for number, found in shown.items()
        if number is not None
        and found.state.is_finished()
        and not _is_as_written(storage, study, domain, documents.get(number), found)
    )


def _sound_trials(storage: StudyStorage, study: StoredStudy) -> list[OuterTrial]:
    found = []
    for document in storage.run(lambda c: storage.optuna.finished(c, study_key(study))):
        try:
            trial = read_trial(document, "")
            check_point(trial.point, study.document, "")
        except InputError:
            continue  # told by its seal
        found.append(trial)
    return found


def _is_as_written(
    storage: StudyStorage,
    study: StoredStudy,
    domain: Domain,
    trial: OuterTrial | None,
    found: optuna.trial.FrozenTrial,
) -> bool:
    if trial is None:
        return KEY in found.user_attrs  # a damaged document is told by its seal
    ended = storage.ended(study, trial)
    complete = ended.values is not None
    limits = {CONSTRAINT + name: value for name, value in ended.constraints.items()}
    return (
        (found.state is optuna.trial.TrialState.COMPLETE) == complete
        and (not complete or found.values == list(ended.values or ()))
        and found.params == domain.params(trial.point)
        and _limits(found.system_attrs) == limits
    )


def _limits(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name.startswith(CONSTRAINT)}
