"""Studies that take the place of another one: they begin beside it, and replace it with their first
trial, so that a start that fails loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.study.store.optuna_side import NameTakenError
from nest_tune.study.store.our_rows import drop_rows
from nest_tune.study.store.results import ResultRows
from nest_tune.study.store.stored_study import BESIDE, StoredStudy
from nest_tune.study.store.study_rows import new_study, study_key
from nest_tune.study.store.tables import STUDIES
from nest_tune.study_command import study_command


class ReplacingRows(ResultRows):
    """Studies that replace others."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(url, create=create)
        self._beside: dict[int, StoredStudy] = {}

    def create_beside(self, old: StoredStudy, document: Mapping[str, Any]) -> StoredStudy:
        """A new study that is to replace another one: it has its name for whoever runs it, for all
        others another one until :meth:`settle`.

        Raises:
            InputError: The other one is being replaced by a live process.
        """
        left = self.get(old.name + BESIDE)
        if left is not None:
            if left.is_running:
                raise InputError(
                    f"study {old.name!r} is being replaced by process {left.owner}",
                    hint=study_command("cancel", left.name),
                )
            self.delete(left)
        made = self.create(old.name + BESIDE, document)
        self._beside[made.key] = old
        return replace(made, name=old.name)

    def is_beside(self, study: StoredStudy) -> bool:
        """Whether a study of this process has not yet replaced what it is to replace."""
        return study.key in self._beside

    def settle(self, study: StoredStudy) -> None:
        """Deletes what a study is to replace and gives it its name; nothing where that is done.

        Raises:
            InputError: What has the name is running, or is yet another study.
            LostStudyError: Another process has taken the study.
        """
        old = self._beside.get(study.key)
        if old is None:
            return

        def work(connection: sql.Connection) -> None:
            is_there = self.optuna.holds(connection, study_key(old))
            if is_there and self._current(connection, old).is_running:
                raise InputError(
                    f"study {old.name!r} has been resumed meanwhile: it is not replaced",
                    hint=study_command("cancel", old.name),
                )
            told = new_study(old.name, study.mark, study.document)
            over = study_key(old) if is_there else None
            number = self.optuna.rename(connection, study_key(study), told, over)
            drop_rows(connection, self.optuna, old.mark)
            mine = STUDIES.update().where(STUDIES.c.id == study.key)
            connection.execute(mine.values(number=number))

        try:
            self.write(study, work)
        except NameTakenError as error:
            raise InputError(
                f"study {old.name!r}: the name was taken by another study meanwhile",
                hint="another --name",
            ) from error
        del self._beside[study.key]
