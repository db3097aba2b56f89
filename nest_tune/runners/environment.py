"""Credentials stay with the driver: which variables hold some, and how processes start without.

Workers get plain values and open no database, so that nothing on them needs a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SECRETS = re.compile(r"NEST_TUNE_STORAGE|PG[A-Z]+|.*(PASSWORD|PASSWD|PWD|SECRET|TOKEN|_KEY)")
_NO_SECRETS = ("PWD", "OLDPWD")
"""Working folders, which the pattern takes for more."""
_CLUSTER = "RAY_"
"""What a cluster's processes know each other by stays: they need it."""
_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


def is_secret(name: str) -> bool:
    """Whether an environment variable of this name may hold a credential."""
    if name in _NO_SECRETS or name.startswith(_CLUSTER):
        return False
    return _SECRETS.fullmatch(name) is not None


def drop_secrets() -> None:
    """Removes credentials from the environment of this process and those that it starts."""
    for name in list(os.environ):
        if is_secret(name):
            del os.environ[name]


@contextmanager
def without_secrets() -> Iterator[None]:
    """Keeps credentials from processes that are started in the block, which inherit the rest."""
    hidden = {name: value for name, value in os.environ.items() if is_secret(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def shows_password(arguments: Sequence[str]) -> bool:
    """Whether a command line holds a URL with a password."""
    return any(_PASSWORD.search(argument) for argument in arguments)
