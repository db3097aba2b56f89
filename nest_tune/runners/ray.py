"""The Ray runner: batches of calls as stateless tasks in a bounded window; the only user of ray.

A task first compares the worker's code with the driver's; a node with other code is left alone from
then on. What dies is made up for here where it is the cluster's fault (a node, an object), and is
reported as lost where it may be the call's (its worker), so that the bound on deaths counts those.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
_terminate = signal.getsignal(signal.SIGTERM)

import ray  # noqa: E402
from ray import exceptions  # noqa: E402

from compiler_core.errors import InputError, MissingDependencyError  # noqa: E402
from nest_tune.runners import ray_on_loopback, remote  # noqa: E402
from nest_tune.runners.address import START_HINT, Head, check_address  # noqa: E402
from nest_tune.runners.batching import Call, Pace  # noqa: E402
from nest_tune.runners.environment import (  # noqa: E402
    shows_password,
    without_secrets,
    worker_environment,
)
from nest_tune.runners.nodes import Nodes  # noqa: E402
from nest_tune.runners.process_tree import nothing_left_by_failure  # noqa: E402
from nest_tune.runners.runner import (  # noqa: E402
    Answer,
    Ending,
    RunnerOptions,
    Setup,
    Work,
    kind_of,
)

_LOG = logging.getLogger(__name__)

_AHEAD = 0.5
"""Calls that wait in the cluster, per CPU."""
_LOSSES = 10
"""Nodes and objects that one call may lose."""
_LOOK_S = 2.0
"""Between looks at the cluster's nodes."""
_LEAVE_S = 5.0
_SHUTDOWN_S = 60.0
_STARTS = 3
_SLOW = "timed out"
_LOCAL_HINT = (
    "--runner local needs no cluster; Ray gives up where a machine is too busy to start it"
)
_STORE_BYTES = 256 << 20
_LOOPBACK = "127.0.0.1"
_CLUSTER_FAULTS = (
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
    exceptions.TaskUnschedulableError,
)
_WORKER_DEATHS = (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, _terminate)  # ray takes it at import, and exits with 15
vars(ray._private.worker).update(
    # Ray prints news of dying nodes on standard output, which belongs to results.
    print_to_stdstream=lambda data, *_, **__: _LOG.info("%s", " ".join(data.get("lines", ())))
)


@dataclass
class _Session:
    """The connection of this process, which all its runners share."""

    users: int = 0
    is_own: bool = False
    is_cluster_own: bool = False
    head: Head | None = None
    is_lost: bool = False


_session = _Session()


def make(setup: Setup, options: RunnerOptions) -> RayRunner:
    """A runner on the cluster at ``options.address``, or on one of this machine without address.

    Raises:
        InputError: The command line would show a password to the cluster.
        MissingDependencyError: No cluster answers at the address, or one of other versions.
    """
    return RayRunner(setup, options)


@dataclass(frozen=True)
class _Flight:
    calls: tuple[Call, ...]
    since: float

    @property
    def cpus(self) -> int:
        return self.calls[0].work.needs.cpus


class RayRunner:
    """See :class:`~nest_tune.runners.runner.Runner`.

    Args:
        setup: What every worker starts with.
        options: ``jobs`` bounds the CPUs in use; 0 takes all that the cluster has.

    Attributes:
        tasks: Sent so far.

    Raises:
        InputError, MissingDependencyError: As :func:`make`.
    """

    def __init__(self, setup: Setup, options: RunnerOptions) -> None:
        self._jobs = options.jobs
        self._waiting: deque[Call] = deque()
        self._flights: dict[Any, _Flight] = {}
        self._pace = Pace()
        self._nodes = Nodes()
        self._look_now = threading.Event()
        self._closed = False
        self.tasks = 0
        self._expected = remote.identity()
        _connect(options)
        try:
            self._bundle = remote.packed(setup, with_files=not _session.is_cluster_own)
            self._shared = ray.put(self._bundle)
        except BaseException:
            _disconnect()
            raise
        self._function = ray.remote(max_retries=0)(_make_function())
        self._seen: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
        self._looking = threading.Thread(target=self._look_at_nodes, daemon=True)
        self._looking.start()

    def submit(self, work: Work) -> None:
        self._waiting.append(Call(work))

    def wait(self, timeout_s: float) -> list[Answer]:
        end = time.monotonic() + timeout_s
        while True:
            if not self._has_head():
                if time.monotonic() >= end:
                    return []
                time.sleep(0.2)
                continue
            self._feed()
            if not self._flights and not self._waiting:
                return []
            self._slots()
            self._nodes.is_there()  # calls may wait in a cluster that has nobody left
            pause = max(0.0, min(end - time.monotonic(), _LOOK_S))
            answers: list[Answer] = []
            if self._flights:
                flights = list(self._flights)
                ready, _ = ray.wait(flights, num_returns=1, timeout=pause)
                if ready:
                    ready, _ = ray.wait(flights, num_returns=len(flights), timeout=0)
                for reference in ready:
                    answers += self._receive(reference)
            else:
                time.sleep(min(pause, 0.2))
            if answers or time.monotonic() >= end:
                self._feed()
                return answers

    def cancel(self, ticket: int) -> None:
        self._waiting = deque(call for call in self._waiting if call.work.ticket != ticket)
        for reference, flight in list(self._flights.items()):
            if any(call.work.ticket == ticket for call in flight.calls):
                self._abandon(reference)
                others = [call for call in flight.calls if call.work.ticket != ticket]
                self._waiting.extendleft(reversed(others))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._look_now.set()
        self._waiting.clear()
        if _session.head is not None and not _session.head.listens():
            _session.is_lost = True  # a signal to all processes of a group ends the head as well
        for reference in list(self._flights) if not _session.is_lost else ():
            self._abandon(reference)
        del self._shared
        self._looking.join(0 if _session.is_lost else _LEAVE_S)
        _disconnect()

    def _has_head(self) -> bool:
        """Whether the cluster can be asked; without its head every question would block.

        Raises:
            MissingDependencyError: It is gone for good.
        """
        try:
            return _session.head is None or _session.head.is_there()
        except MissingDependencyError:
            _session.is_lost = True
            raise

    def _abandon(self, reference: Any) -> None:
        del self._flights[reference]
        try:
            ray.cancel(reference, force=True)
        except (exceptions.RayError, ValueError) as error:
            _LOG.info("a task could not be cancelled: %s", error)

    # Giving work.

    def _feed(self) -> None:
        while self._waiting:
            free = self._slots() - sum(flight.cpus for flight in self._flights.values())
            needs = self._waiting[0].work.needs
            fits = free >= needs.cpus or not self._flights  # one call may be larger than the window
            if not fits or not self._nodes.can_hold(needs):
                return
            self._send(self._pace.next_batch(self._waiting, max(1, free)))

    def _look_at_nodes(self) -> None:
        """Keeps the list of nodes up to date, in a thread of its own: where the cluster's head is
        gone, the question blocks for a minute."""
        while not self._closed:
            try:
                self._seen = ray.nodes()  # type: ignore[no-untyped-call]
            except (exceptions.RayError, RuntimeError, OSError) as error:
                _LOG.info("the cluster's nodes are not known: %s", _line(error))
            self._look_now.wait(_LOOK_S)
            self._look_now.clear()

    def _slots(self) -> int:
        """CPUs that calls may be sent for; where the cluster itself bounds how many run, some more
        than there are, so that a worker that is done finds its next task waiting."""
        self._nodes.look(self._seen)
        cpus = self._nodes.cpus
        if self._jobs and not _session.is_cluster_own:
            return min(self._jobs, cpus)
        return cpus + math.ceil(_AHEAD * cpus)

    def _send(self, calls: tuple[Call, ...]) -> None:
        needs = calls[0].work.needs
        options: dict[str, Any] = {"num_cpus": needs.cpus}
        if needs.memory_bytes:
            options["memory"] = needs.memory_bytes
        if refused := self._nodes.refused:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(refused)})"}
        works = [remote.plain_work(call.work) for call in calls]
        task = self._function.options(**options)
        self.tasks += 1
        self._flights[task.remote(self._expected, self._shared, works)] = _Flight(
            calls, time.monotonic()
        )

    # Taking answers.

    def _receive(self, reference: Any) -> list[Answer]:
        flight = self._flights.pop(reference)
        try:
            value = ray.get(reference)
        except _CLUSTER_FAULTS as error:
            return self._lost_by_cluster(flight, error)
        except _WORKER_DEATHS as error:
            return self._worker_died(flight, error)
        except (
            exceptions.TaskCancelledError
        ) as error:  # not by this runner: those are not waited for
            return self._lost_by_cluster(flight, error)
        except exceptions.RayTaskError as error:
            cause = error.cause
            text = " ".join(str(cause).split())
            return [
                Answer(call.work.ticket, Ending.ERROR, error=kind_of(cause), message=text)
                for call in flight.calls
            ]
        except exceptions.RayError as error:
            raise MissingDependencyError(
                f"Ray: {_line(error)}", hint="ray status, and the logs of the cluster's head"
            ) from error
        if "refused" in value:
            self._nodes.refuse(value["node"], value["host"], value["refused"])
            self._waiting.extendleft(reversed(flight.calls))
            return []
        answers = [remote.answer_from_plain(answer) for answer in value["answers"]]
        mean_s = sum(answer.wall_s for answer in answers) / len(answers)
        self._pace.learn(flight.calls[0].work.function, mean_s)
        return answers

    def _lost_by_cluster(self, flight: _Flight, error: Exception) -> list[Answer]:
        """Makes the calls again; a call that has lost too much is given up."""
        self._look_now.set()
        if isinstance(error, exceptions.ObjectLostError):
            self._shared = ray.put(self._bundle)
        _LOG.info("%d calls are made again: %s", len(flight.calls), _line(error))
        calls = [replace(call, losses=call.losses + 1) for call in flight.calls]
        self._waiting.extendleft(reversed([call for call in calls if call.losses <= _LOSSES]))
        wall_s = time.monotonic() - flight.since
        return [
            Answer(call.work.ticket, Ending.LOST, message=_line(error), wall_s=wall_s)
            for call in calls
            if call.losses > _LOSSES
        ]

    def _worker_died(self, flight: _Flight, error: Exception) -> list[Answer]:
        """Reports the death where it is clear which call it was; else each gets its own worker."""
        if len(flight.calls) > 1:
            self._waiting.extendleft(replace(c, is_alone=True) for c in reversed(flight.calls))
            return []
        wall_s = time.monotonic() - flight.since
        ticket = flight.calls[0].work.ticket
        return [Answer(ticket, Ending.LOST, message=_line(error), wall_s=wall_s)]


def _make_function() -> Callable[..., Any]:
    """The task. It is sent by value, as a nested function, so that also a worker without this
    project can say what it lacks; so its arguments are plain."""

    def nest_tune_calls(
        expected: Mapping[str, str], bundle: Mapping[str, Any], works: Sequence[Any]
    ) -> dict[str, Any]:
        import socket

        import ray

        try:
            from nest_tune.runners import remote

            reason = remote.refusal(expected)
        except (ImportError, AttributeError) as error:
            reason = f"nest-tune cannot be used there: {error}"
        if reason:
            node = ray.get_runtime_context().get_node_id()
            return {"refused": reason, "node": node, "host": socket.gethostname()}
        return {"answers": remote.serve(bundle, works)}

    return nest_tune_calls


def _line(error: BaseException) -> str:
    """The first sentences of one of Ray's messages, which are long."""
    return " ".join(str(error).split())[:200] or type(error).__name__


# The connection.


def _connect(options: RunnerOptions) -> None:
    if _session.users == 0:
        _session.is_own = not ray.is_initialized()
        if _session.is_own:
            _initialize(options)
            _session.is_cluster_own = options.address is None
        _session.head, _session.is_lost = _head_of(options.address), False
    _session.users += 1


def _disconnect() -> None:
    _session.users -= 1
    if _session.users == 0 and _session.is_own:
        _leave()
        _session.is_cluster_own = False


def was_lost() -> bool:
    """Whether a cluster has lost its head: the library then ends this process with code 1 when it
    comes to free its memory."""
    return _session.is_lost


def _head_of(address: str | None) -> Head:
    """Of the cluster that this process has joined."""
    if address is not None and address.startswith("ray://"):
        return Head(address.removeprefix("ray://"))
    return Head(ray.get_runtime_context().gcs_address)


def _leave() -> None:
    """Leaves the cluster, however long the library waits for a head that is gone."""
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(_LEAVE_S if _session.is_lost else _SHUTDOWN_S)
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
            f"Ray cluster {shown}: {_line(error)}", hint="pip install 'ray[client]'"
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
    """Leaves the driver's reaction to signals as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
