"""The Ray runner: batches of calls as stateless tasks in a bounded window.

A task first compares the worker's code with the driver's; a node with other code is left alone from
then on. What dies is made up for here where it is the cluster's fault (a node, an object), and is
reported as lost where it may be the call's (its worker), so that the bound on deaths counts those.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.errors import MissingDependencyError
from nest_tune.runners import remote
from nest_tune.runners.batching import Call, Pace
from nest_tune.runners.nodes import Nodes
from nest_tune.runners.ray_cluster import (
    LEAVE_S,
    SESSION,
    connect,
    disconnect,
    exceptions,
    line,
    ray,
    signals_come_through,
)
from nest_tune.runners.runner import (
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
_CLUSTER_FAULTS = (
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
    exceptions.TaskUnschedulableError,
)
_WORKER_DEATHS = (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)


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
        with signals_come_through():
            connect(options)
        try:
            self._bundle = remote.packed(setup, with_files=not SESSION.is_cluster_own)
            self._shared = ray.put(self._bundle)
        except BaseException:
            disconnect()
            raise
        self._function = ray.remote(max_retries=0)(_make_function())
        self._seen: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
        self._looking = threading.Thread(target=self._look_at_nodes, daemon=True)
        self._looking.start()

    def submit(self, work: Work) -> None:
        self._waiting.append(Call(work))

    @signals_come_through()
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

    @signals_come_through()
    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._look_now.set()
        self._waiting.clear()
        if SESSION.head is not None and not SESSION.head.listens():
            SESSION.is_lost = True  # a signal to all processes of a group ends the head as well
        for reference in list(self._flights) if not SESSION.is_lost else ():
            self._abandon(reference)
        del self._shared
        self._looking.join(0 if SESSION.is_lost else LEAVE_S)
        disconnect()

    def _has_head(self) -> bool:
        """Whether the cluster can be asked; without its head every question would block.

        Raises:
            MissingDependencyError: It is gone for good.
        """
        try:
            return SESSION.head is None or SESSION.head.is_there()
        except MissingDependencyError:
            SESSION.is_lost = True
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
                _LOG.info("the cluster's nodes are not known: %s", line(error))
            self._look_now.wait(_LOOK_S)
            self._look_now.clear()

    def _slots(self) -> int:
        """CPUs that calls may be sent for; where the cluster itself bounds how many run, some more
        than there are, so that a worker that is done finds its next task waiting."""
        self._nodes.look(self._seen)
        cpus = self._nodes.cpus
        if self._jobs and not SESSION.is_cluster_own:
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
                f"Ray: {line(error)}", hint="ray status, and the logs of the cluster's head"
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
        _LOG.info("%d calls are made again: %s", len(flight.calls), line(error))
        calls = [replace(call, losses=call.losses + 1) for call in flight.calls]
        self._waiting.extendleft(reversed([call for call in calls if call.losses <= _LOSSES]))
        wall_s = time.monotonic() - flight.since
        return [
            Answer(call.work.ticket, Ending.LOST, message=line(error), wall_s=wall_s)
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
        return [Answer(ticket, Ending.LOST, message=line(error), wall_s=wall_s)]


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
