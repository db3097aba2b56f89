"""What went wrong with a database, as errors that say what to do about it."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError, ResourceError
from compiler_core.files.exhausted import lack_of
from nest_tune.records.storage_url import PASSWORD_HINT
from nest_tune.redaction import redact

_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_FOREIGN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_GO_ON = "free some space, or let files grow (ulimit -f); what was stored before is kept"
_LACKS = ("no such table", "no such column", "UndefinedTable", "UndefinedColumn")
_RESTORE = "part of it is missing: it was deleted meanwhile, or is damaged; restore it from a copy"
_CHECK = "check the address and that its folder or server can be reached and written"


def text_of(error: DBAPIError) -> str:
    """What the database said, in one line without secrets."""
    return redact(str(error.orig).strip().partition("\n")[0])


def code_of(error: SQLAlchemyError) -> int | None:
    """Primary result code of SQLite; ``None`` of other databases."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def storage_error(shown: str, error: SQLAlchemyError) -> NestTuneError:
    """The error of a storage that could not do what it was asked for.

    Args:
        shown: Its URL without a password.
        error: What it said.

    Returns:
        A :class:`~compiler_core.errors.ResourceError` where its disk is full or has failed, an
        :class:`~compiler_core.errors.InputError` where it is something else than a database, else
        a :class:`~compiler_core.errors.MissingDependencyError`.
    """
    cause = getattr(error, "orig", None) or error
    where = f"storage {shown}: {redact(' '.join(str(cause).split()))}"
    code, lack = code_of(error), lack_of(cause)
    if code in _FULL or lack is not None or "No space left" in where:
        return ResourceError(f"{where}: nothing more can be stored", hint=_GO_ON)
    if code in _FOREIGN:
        return InputError(where, hint="check that it is a database of nest-tune")
    if any(lacks in where for lacks in _LACKS):
        return MissingDependencyError(where, hint=_RESTORE)
    return MissingDependencyError(where, hint=PASSWORD_HINT if "password" in where else _CHECK)
