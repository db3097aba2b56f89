"""The environment of workers: a list of variables that they may have, and what the user adds.

Workers get plain values and open no database, so that nothing on them needs a password. What their
interpreter, their libraries and the system need is known by name; everything else (credentials of
databases, clouds and services above all) stays with the driver, unless ``--pass-env`` names it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from compiler_core.errors import InputError
from compiler_core.telemetry import SWITCHES
from nest_tune.redaction import redact

ALLOWED = (
    # the system
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "TEMP", "TMP", "TZ", "TZDIR"),
    *("LANG", "LANGUAGE", "LC_*", "TERM", "NO_COLOR", "COLUMNS", "LINES", "CI"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "MALLOC_*", "GLIBC_TUNABLES"),
    # the interpreter and its environments
    *("PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "COV_CORE_*", "COVERAGE_*"),
    # numerics
    *("OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "NUMEXPR_*", "VECLIB_*"),
    *("NUMBA_*", "NPY_*", "ORT_*", "XGB_*", "CUDA_VISIBLE_DEVICES"),
    # this project
    *("NEST_TUNE_CACHE", "NEST_TUNE_LOG_LEVEL", "NEST_TUNE_SSH_CONFIG"),
    "NEST_TUNE_CMSIS_NN",
    *SWITCHES,
)
"""Names of variables that workers have; ``*`` stands for any ending."""

_ALLOWED = re.compile("|".join(re.escape(name).replace(r"\*", r"\w*") for name in ALLOWED))
_SECRETS = re.compile(
    r"NEST_TUNE_STORAGE|PG[A-Z]+|\w*(PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|SECRET|TOKEN|CREDENTIAL"
    r"|CREDENTIALS|_KEY|_DSN|DATABASE_URL|DB_URL|_AUTH)"
)
_NO_SECRETS = ("PWD", "OLDPWD")
"""Working folders, which the pattern takes for more."""
_CLUSTER = "RAY_"
"""What a cluster's processes know each other by stays: they need it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_changing = threading.Lock()


def is_secret(name: str) -> bool:
    """Whether an environment variable of this name may hold a credential."""
    if name in _NO_SECRETS or name.startswith(_CLUSTER):
        return False
    return _SECRETS.fullmatch(name) is not None


def is_allowed(name: str) -> bool:
    """Whether workers get the environment variable of this name without being told."""
    return _ALLOWED.fullmatch(name) is not None and not is_secret(name)


def passed(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the user passes on to workers.

    Args:
        names: As given by ``--pass-env``.
        environment: Where their values are.

    Raises:
        InputError: One is no name of a variable, or is not set.
    """
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise InputError(
                f"--pass-env {redact(name.partition('=')[0])!r}: the name of a variable is needed, "
                "letters, digits and '_'",
                hint="--pass-env BOARD_ADDRESS, with the value in the environment",
            )
        if name not in environment:
            raise InputError(
                f"--pass-env {name}: the variable is not set", hint=f"export {name}=… before"
            )
    return {name: environment[name] for name in names}


@contextmanager
def worker_environment(
    added: Mapping[str, str] | None = None, *, cluster: bool = False
) -> Iterator[None]:
    """Processes that are started in the block get what workers may have.

    The environment of this process is another one in the meantime, because a process inherits it
    from there; blocks of several threads wait for each other.

    Args:
        added: Variables beside those that all workers have.
        cluster: Whether they are processes of a cluster, which need its own variables.
    """
    with _changing:
        before = dict(os.environ)
        kept = {
            name: value
            for name, value in before.items()
            if is_allowed(name) or (cluster and name.startswith(_CLUSTER))
        }
        kept |= added or {}
        try:
            _become(kept)
            yield
        finally:
            # What the block has set is the business of this process: it stays.
            changed = {n: v for n, v in os.environ.items() if kept.get(n) != v}
            _become(before | changed)


def _become(wanted: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextmanager
def without_secrets() -> Iterator[None]:
    """Keeps credentials from processes that are started in the block, which inherit the rest."""
    with _changing:
        hidden = {name: value for name, value in os.environ.items() if is_secret(name)}
        for name in hidden:
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(hidden)


def shows_password(arguments: Sequence[str]) -> bool:
    """Whether a command line holds a URL with a password, or another secret."""
    return any(redact(argument) != argument for argument in arguments)
