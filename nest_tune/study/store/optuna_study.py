"""Studies as Optuna's own objects: for notebooks, its dashboard and its visualization."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from compiler_core.errors import InputError
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    import optuna

_WAIT_S = 30
"""Time that Optuna waits for a SQLite file that another process writes to."""


def optuna_storage(opened: StudyStorage) -> optuna.storages.BaseStorage:
    """Optuna's storage of the same studies."""
    import optuna

    journal = opened.connection.optuna_journal
    if journal is not None:
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        return optuna.storages.JournalStorage(backend)
    waits = opened.connection.dialect == "sqlite"
    found = optuna.storages.RDBStorage(
        opened.connection.revealed,
        engine_kwargs={"connect_args": {"timeout": _WAIT_S}} if waits else None,
    )
    # Connections that it has pooled are closed with it, not whenever they are found.
    weakref.finalize(found, found.engine.dispose)
    return found


def optuna_study(opened: StudyStorage, name: str) -> optuna.Study:
    """A study as Optuna's object.

    Raises:
        InputError: There is none of that name, or Optuna cannot read the storage.
    """
    import optuna

    opened.find(name)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return optuna.load_study(
            study_name=name,
            storage=optuna_storage(opened),
            sampler=optuna.samplers.RandomSampler(),
        )
    except (ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"study {name!r}: Optuna cannot read it: {error}",
            hint=study_command("verify", name),
        ) from error
