"""The connection of this process to a Ray cluster, or to one that it starts on this machine; what
has to be set before ``ray`` is imported is set here, so that nobody else imports it first."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
_terminate = signal.getsignal(signal.SIGTERM)
# Ray takes the signal at import, and would exit with 15: it waits until the reaction is ours again.
_blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

import ray  # noqa: E402
from ray import exceptions  # noqa: E402

from compiler_core.errors import InputError, MissingDependencyError  # noqa: E402
from nest_tune.runners import ray_on_loopback  # noqa: E402
from nest_tune.runners.address import START_HINT, Head, check_address  # noqa: E402
from nest_tune.runners.environment import (  # noqa: E402
    shows_password,
    without_secrets,
    worker_environment,
)
from nest_tune.runners.process_tree import nothing_left_by_failure  # noqa: E402
from nest_tune.runners.runner import RunnerOptions  # noqa: E402

__all__ = [
    "LEAVE_S",
    "SESSION",
    "connect",
    "disconnect",
    "exceptions",
    "line",
    "ray",
    "signals_come_through",
    "was_lost",
]

_LOG = logging.getLogger(__name__)

LEAVE_S = 5.0
_SHUTDOWN_S = 60.0
_STARTS = 3
_SLOW = "timed out"
_LOCAL_HINT = (
    "--runner local needs no cluster; Ray gives up where a machine is too busy to start it"
)
_STORE_BYTES = 256 << 20
_LOOPBACK = "127.0.0.1"
_TAKES_SIGTERM = "set_sigterm_handler"

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, _terminate)
signal.pthread_sigmask(signal.SIG_SETMASK, _blocked)
vars(ray._private.worker).update(
    # Ray prints news of dying nodes on standard output, which belongs to results.
    print_to_stdstream=lambda data, *_, **__: _LOG.info("%s", " ".join(data.get("lines", ())))
)


@dataclass
class Session:
    """The connection of this process, which all its runners share.

    Attributes:
        users: Runners that have it.
        is_own: Whether this process has made it.
        is_cluster_own: Whether this process has started the cluster.
        head: Of the cluster.
        is_lost: Whether that is gone for good.
    """

    users: int = 0
    is_own: bool = False
    is_cluster_own: bool = False
    head: Head | None = None
    is_lost: bool = False


SESSION = Session()


def connect(options: RunnerOptions) -> None:
    """Joins a cluster, or starts one, for one more runner.

    Raises:
        InputError, MissingDependencyError: It cannot be joined.
    """
    if SESSION.users == 0:
        SESSION.is_own = not ray.is_initialized()
        if SESSION.is_own:
            _initialize(options)
            SESSION.is_cluster_own = options.address is None
        SESSION.head, SESSION.is_lost = _head_of(options.address), False
    SESSION.users += 1


def disconnect() -> None:
    """Leaves the cluster with its last runner."""
    SESSION.users -= 1
    if SESSION.users == 0 and SESSION.is_own:
        _leave()
        SESSION.is_cluster_own = False


def was_lost() -> bool:
    """Whether a cluster has lost its head: the library then ends this process with code 1 when it
    comes to free its memory."""
    return SESSION.is_lost


def _head_of(address: str | None) -> Head:
    """Of the cluster that this process has joined."""
    if address is not None and address.startswith("ray://"):
        return Head(address.removeprefix("ray://"))
    return Head(ray.get_runtime_context().gcs_address)


def _leave() -> None:
    """Leaves the cluster, however long the library waits for a head that is gone."""
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(LEAVE_S if SESSION.is_lost else _SHUTDOWN_S)
    if leaving.is_alive():
        atexit.unregister(ray.shutdown)  # it would wait once more


def _initialize(options: RunnerOptions) -> None:
    address = options.address
    if shows_password(sys.argv):
        raise InputError(
            "the command line holds a password, and Ray shows command lines to the whole cluster",
            hint="give the storage in the environment as NEST_TUNE_STORAGE",
        )
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        given |= {
            "address": "local",
            "num_cpus": options.jobs or os.cpu_count() or 1,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "dashboard_host": _LOOPBACK,
            "_node_ip_address": _LOOPBACK,
            "_temp_dir": ray_on_loopback.temporary_folder(),
        }
    else:
        given["address"] = address
        check_address(address)
    shown = address or "on this machine"
    try:
        ray_on_loopback.guard_token()
        _start(given, attempts=_STARTS if address is None else 1)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"--ray-address {shown} needs the Python package {error.name!r}",
            hint="pip install 'ray[client]'",
        ) from error
    except ImportError as error:  # ray:// without its extra
        raise MissingDependencyError(
            f"Ray cluster {shown}: {line(error)}", hint="pip install 'ray[client]'"
        ) from error
    except Exception as error:  # the library raises bare ones, too
        raise MissingDependencyError(
            f"Ray cluster {shown}: {' '.join(str(error).split())[:400]}",
            hint=_LOCAL_HINT if address is None else START_HINT,
        ) from error


def _start(given: dict[str, Any], attempts: int) -> None:
    """Joins or starts a cluster; a start that a busy machine was too slow for is tried again."""
    for attempt in range(1, attempts + 1):
        try:
            is_own = given["address"] == "local"
            with _kept_signals(), _own_cluster() if is_own else without_secrets():
                _init(given, is_own)
        except Exception as error:
            ray.shutdown()  # of what had been begun
            if attempt == attempts or _SLOW not in str(error):
                raise
            _LOG.warning("Ray did not start in its time: once more")
        else:
            return


def _init(given: dict[str, Any], is_own: bool) -> None:
    """What a start begins and does not finish, Ray leaves running until this process ends."""
    with nothing_left_by_failure() if is_own else nullcontext():
        ray.init(**given)


@contextmanager
def _own_cluster() -> Iterator[None]:
    """A cluster that is started in the block listens on loopback only, and inherits little."""
    constants = vars(ray._private.ray_constants)
    before = constants["ENABLE_RAY_CLUSTER"]
    constants["ENABLE_RAY_CLUSTER"] = False  # read from its variable when ray was imported
    try:
        with worker_environment(ray_on_loopback.VARIABLES, cluster=True):
            _read_environment_again()
            yield
    finally:
        constants["ENABLE_RAY_CLUSTER"] = before
    found: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    if not ip_address(found).is_loopback:
        ray.shutdown()
        raise MissingDependencyError(
            f"Ray {ray.__version__} listens at {found}, not on this machine only",
            hint="install the version of constraints.txt, or start a cluster: --ray-address",
        )


def _read_environment_again() -> None:
    """Lets this process and the cluster that it starts agree on tokens: a cluster before may have
    had others, and Ray keeps what it has read."""
    parts = vars(ray._raylet)
    if {"Config", "AuthenticationTokenLoader"} <= parts.keys():
        parts["Config"].initialize("")
        parts["AuthenticationTokenLoader"].instance().reset_cache()


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Leaves the driver's reaction to signals as it is, in the block, too: Ray's own to a request
    to end exits at once, with 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    utils = vars(ray._private.utils)
    taking = utils.get(_TAKES_SIGTERM)
    utils[_TAKES_SIGTERM] = lambda _handler: None
    try:
        yield
    finally:
        utils[_TAKES_SIGTERM] = taking
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def signals_come_through() -> Iterator[None]:
    """Raises what the reaction to a signal raised in one of Ray's calls: those that wait let
    KeyboardInterrupt alone pass, and make a SystemError of everything else."""
    try:
        yield
    except SystemError as error:
        if error.__cause__ is None or isinstance(error.__cause__, Exception):
            raise
        raise error.__cause__ from None


def line(error: BaseException) -> str:
    """The first sentences of one of Ray's messages, which are long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
