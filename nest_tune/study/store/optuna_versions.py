"""Optuna's tables, made as Optuna makes them, and versions of them that are known here."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sql

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.records.dialects import create_tables
from nest_tune.study.store.optuna_tables import (
    INFO,
    KNOWN_VERSION,
    SCHEMA_VERSION,
    TABLES,
    VERSION,
)


def require_optuna_tables(connection: sql.Connection, shown: str) -> None:
    """Makes Optuna's tables where there are none.

    Args:
        connection: In a transaction.
        shown: The storage, for messages.

    Raises:
        InputError: There are some of another version.
        MissingDependencyError: The Optuna that is installed makes others.
    """
    found = None
    if sql.inspect(connection).has_table(VERSION.name):
        found = connection.execute(sql.select(VERSION.c.version_num)).scalar()
    if found == KNOWN_VERSION:
        return
    if found is not None:
        raise InputError(
            f"storage {shown}: Optuna's tables are of version {found}; {KNOWN_VERSION} is needed",
            hint="optuna storage upgrade --storage URL, or use another --storage",
        )
    _make(connection)


def installed_version() -> str:
    """Version of the tables that the installed Optuna makes."""
    found = find_spec("optuna")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "storages" / "_rdb" / "alembic" / "versions"
    return max(path.stem.rstrip("_") for path in folder.glob("v*.py"))


def _make(connection: sql.Connection) -> None:
    """As Optuna does, without loading it."""
    optuna_version = version("optuna")
    if installed_version() != KNOWN_VERSION:
        raise MissingDependencyError(
            f"optuna {optuna_version} keeps studies in tables of version "
            f"{installed_version()}; {KNOWN_VERSION} is needed",
            hint="pip install 'optuna>=5,<6'",
        )
    create_tables(connection, TABLES)
    if connection.execute(sql.select(INFO.c.version_info_id)).scalar() is None:
        connection.execute(
            INFO.insert().values(
                version_info_id=1, schema_version=SCHEMA_VERSION, library_version=optuna_version
            )
        )
    if connection.execute(sql.select(VERSION.c.version_num)).scalar() is None:
        connection.execute(VERSION.insert().values(version_num=KNOWN_VERSION))
