"""An opened storage: its connection, our tables, and Optuna's side, made where they are missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.records.connection import Connection
from nest_tune.records.database import missing_driver
from nest_tune.records.dialects import create_tables
from nest_tune.records.storage_url import HINT, StorageUrl
from nest_tune.study.store.optuna_database import OptunaDatabase
from nest_tune.study.store.optuna_journal import OptunaJournal
from nest_tune.study.store.optuna_side import OptunaSide
from nest_tune.study.store.optuna_versions import require_optuna_tables
from nest_tune.study.store.tables import SCHEMA_VERSION, TABLES, VERSION

T = TypeVar("T")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have such a name
        return False


class OpenedStorage:
    """Studies in one database, or in a journal.

    Args:
        url: As SQLAlchemy reads it; secrets are never shown.
        create: Whether a database file may be made.

    Raises:
        InputError: The URL cannot be read, there is no such file, or what is there is of a newer
            version or no database.
        MissingDependencyError: Its driver is not installed, or it does not answer.
        ResourceError: Its disk is full.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        try:
            self.connection = Connection(url)
        except sql.exc.NoSuchModuleError as error:
            raise InputError(
                f"storage {url.partition(':')[0]}: {error}", hint="sqlite:///nest-tune.db"
            ) from error
        except sql.exc.ArgumentError as error:
            raise InputError("storage: not a database URL", hint=HINT) from error
        except ModuleNotFoundError as error:
            raise missing_driver(StorageUrl(url), error) from error
        self.url = self.connection.url
        self.shown = self.connection.shown
        self._find_file(create)
        self._make_tables()
        journal = self.connection.optuna_journal
        self.optuna: OptunaSide = OptunaDatabase() if journal is None else OptunaJournal(journal)

    def _find_file(self, create: bool) -> None:
        file = self.connection.file
        if file is None:
            return
        if not create:
            shown = self.connection.optuna_journal or file
            if not _is_file(file) and not _is_file(shown):
                raise InputError(
                    f"storage {self.shown}: there is no file {shown}",
                    hint="nest-tune study start makes it; or give --storage",
                )
            return
        with suppress(OSError):  # what is wrong then, opening the file says
            file.absolute().parent.mkdir(exist_ok=True)

    def _make_tables(self) -> None:
        def work(connection: sql.Connection) -> int | None:
            create_tables(connection, TABLES)
            if self.connection.optuna_journal is None:
                require_optuna_tables(connection, self.shown)
            found: int | None = connection.execute(sql.select(VERSION.c.version)).scalar()
            if found is None:
                connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
            return found

        version = self.run(work, self.connection.make_tables)
        if version is not None and (type(version) is not int or version > SCHEMA_VERSION):
            raise InputError(
                f"storage {self.shown}: studies of schema {version}; this nest-tune reads up "
                f"to {SCHEMA_VERSION}",
                hint="update nest-tune, or use another --storage",
            )

    def close(self) -> None:
        """Closes the connections."""
        self.connection.close()

    def run(
        self,
        work: Callable[[sql.Connection], T],
        run: Callable[[Callable[[sql.Connection], T]], T] | None = None,
    ) -> T:
        """The result of ``work`` in a transaction; see :meth:`Connection.run
        <nest_tune.records.connection.Connection.run>`: what is done here stands being done
        twice."""
        return (run or self.connection.run)(work)

    def _rows(self, query: sql.Select[Any]) -> list[Any]:
        return self.run(lambda connection: list(connection.execute(query).all()))
