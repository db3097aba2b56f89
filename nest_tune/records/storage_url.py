"""The URL of a storage: a text without secrets, which opens the database all the same.

What is printed, stored, compared or copied is the text. What belongs to it and is secret (the
password, and parameters such as ``sslpassword``) is handed out to whom opens the connection only.
Where the database is opened again from the text alone, the password comes from ``PGPASSWORD`` or
``~/.pgpass``, as for every client of PostgreSQL.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import unquote

from compiler_core.errors import InputError
from nest_tune.redaction import is_secret_name, remember

HINT = (
    "for example sqlite:///nest-tune.db, postgresql+psycopg://user@host/database or "
    "mysql+pymysql://user@host/database"
)
PASSWORD_HINT = (
    "give the password by NEST_TUNE_STORAGE or --storage, by PGPASSWORD, or in ~/.pgpass; "
    "it is never stored"
)
"""Where a password comes from."""

_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<place>[^?]*)(?:\?(?P<query>.*))?",
    re.DOTALL,
)


class StorageUrl(str):
    """A storage's URL; as a string it is what may be shown and stored.

    Args:
        given: As the user wrote it.

    Raises:
        InputError: It is no URL; the message does not repeat it.

    Example:
        >>> url = StorageUrl("postgresql+psycopg://me:geheim@host/db?sslmode=require")
        >>> print(url)
        postgresql+psycopg://me@host/db?sslmode=require
        >>> url.has_secrets
        True
    """

    _given: str
    _secrets: tuple[str, ...]

    def __new__(cls, given: str) -> Self:
        if isinstance(given, cls):
            return given
        public, secrets = _split(str(given))
        url = super().__new__(cls, public)
        url._given = str(given)
        url._secrets = secrets
        for secret in secrets:
            remember(secret, beside=public)
        return url

    @property
    def has_secrets(self) -> bool:
        """Whether it was given with any."""
        return bool(self._secrets)

    def reveal(self) -> str:
        """As the user wrote it: for opening the connection, for nothing else."""
        return self._given

    def __reduce__(self) -> tuple[type[StorageUrl], tuple[str]]:
        """What is copied or sent to another process is the text."""
        return StorageUrl, (str.__str__(self),)


def _split(given: str) -> tuple[str, tuple[str, ...]]:
    """The text without secrets, and the secrets."""
    found = _FORM.fullmatch(given)
    if found is None:
        raise InputError("storage: not a database URL", hint=HINT)
    scheme, place = found["scheme"], found["place"]
    authority = place.partition("/")[0]
    if "@" in authority or (found["password"] and "@" in place):
        raise InputError(
            f"storage {scheme}://…: the address has more than one '@'",
            hint="a password with '@' in it is written with %40",
        )
    host, colon, port = re.sub(r"^\[[^\[\]]*\]", "", authority).partition(":")
    if "[" in host or "]" in host:
        raise InputError(
            f"storage {scheme}://…: the host has a bracket without its other one",
            hint="an address of IPv6 is written as [::1]",
        )
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536
    if colon and not is_port and authority:
        raise InputError(
            f"storage {scheme}://…: what stands after ':' is no port",
            hint="scheme://user:password@host:port/database; in a password, '@' is %40 and '/' %2F",
        )
    secrets = [unquote(found["password"])] if found["password"] else []
    shown = []
    for pair in (found["query"] or "").split("&") if found["query"] is not None else []:
        name, _, value = pair.partition("=")
        if is_secret_name(unquote(name)):
            secrets += [unquote(value)] if value else []
        else:
            shown.append(pair)
    user = f"{found['user']}@" if found["user"] else ""
    query = f"?{'&'.join(shown)}" if shown else ""
    return f"{scheme}://{user}{place}{query}", tuple(secrets)
