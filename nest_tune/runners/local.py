"""The local runner: processes on this machine, one call at a time each.

A worker is a fresh interpreter at the other end of a pipe, so that a hang or a crash costs only the
call it happened in. Workers ignore Ctrl-C: the driver decides what ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from nest_tune.runners.runner import (
    Answer,
    Ending,
    RunnerOptions,
    Setup,
    Work,
    kind_of,
    resolve,
)

_SETUP = -1
_SETUP_TIMEOUT_S = 600.0
_END_S = 2.0


def make(setup: Setup, options: RunnerOptions) -> LocalRunner:
    """A runner with ``options.jobs`` processes; they start when there is work."""
    return LocalRunner(setup, max(1, options.jobs))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool
    work: Work | None
    since: float


class LocalRunner:
    """See :class:`~nest_tune.runners.runner.Runner`.

    Args:
        setup: What every process starts with.
        jobs: Processes.
    """

    def __init__(self, setup: Setup, jobs: int) -> None:
        self._setup = setup
        self._jobs = jobs
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._waiting: deque[Work] = deque()

    def submit(self, work: Work) -> None:
        self._waiting.append(work)
        self._feed()

    def wait(self, timeout_s: float) -> list[Answer]:
        end = time.monotonic() + timeout_s
        while True:
            answers = self._overdue()
            busy = [worker for worker in self._workers if worker.work is not None]
            if answers or (not busy and not self._waiting):
                return answers
            left = end - time.monotonic()
            pause = max(0.0, min([left, *(self._left(worker) for worker in busy)]))
            ready = wait([worker.pipe for worker in busy], timeout=pause)
            for worker in busy:
                if worker.pipe in ready:
                    answers += self._receive(worker)
            self._feed()
            if answers or time.monotonic() >= end:
                return answers + self._overdue()

    def cancel(self, ticket: int) -> None:
        self._waiting = deque(work for work in self._waiting if work.ticket != ticket)
        for worker in list(self._workers):
            if worker.work is not None and worker.work.ticket == ticket:
                self._end(worker)
        self._feed()

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._end(worker)

    def _feed(self) -> None:
        """Gives waiting calls to idle workers, and makes workers while there are too few."""
        while self._waiting:
            idle = next((worker for worker in self._workers if worker.work is None), None)
            if idle is None and len(self._workers) < self._jobs:
                idle = self._start()
            if idle is None:
                return
            idle.work = self._waiting.popleft()
            idle.since = time.monotonic()
            with contextlib.suppress(OSError):  # a dead worker is noticed when it is waited for
                idle.pipe.send((idle.work.function, idle.work.payload))

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(theirs, self._setup, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()
        worker = _Worker(process, ours, False, None, time.monotonic())
        self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join(_END_S)
        worker.pipe.close()

    def _left(self, worker: _Worker) -> float:
        allowed = _SETUP_TIMEOUT_S
        if worker.ready and worker.work is not None:
            allowed = worker.work.timeout_s
        return worker.since + allowed - time.monotonic()

    def _overdue(self) -> list[Answer]:
        answers = []
        for worker in list(self._workers):
            if worker.work is not None and self._left(worker) <= 0 and not worker.pipe.poll():
                allowed = worker.work.timeout_s if worker.ready else _SETUP_TIMEOUT_S
                message = f"ran longer than {allowed:g} s"
                answers.append(
                    Answer(worker.work.ticket, Ending.TIMEOUT, message=message, wall_s=allowed)
                )
                self._end(worker)
        if answers:
            self._feed()
        return answers

    def _receive(self, worker: _Worker) -> list[Answer]:
        assert worker.work is not None
        ticket, wall_s = worker.work.ticket, time.monotonic() - worker.since
        try:
            kind, *rest = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_END_S)
            code = worker.process.exitcode
            self._end(worker)
            return [Answer(ticket, Ending.LOST, message=_death(code), wall_s=wall_s)]
        if kind == "ready":
            worker.ready = True
            worker.since = time.monotonic()
            return []
        worker.work = None
        if kind == "done":
            return [Answer(ticket, Ending.DONE, value=rest[0], wall_s=wall_s)]
        if not worker.ready:  # the setup failed: the next call tries again
            self._end(worker)
        return [Answer(ticket, Ending.ERROR, error=rest[0], message=rest[1], wall_s=wall_s)]


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the worker was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"the worker ended with code {code}"


def serve(pipe: Connection, setup: Setup, driver: int) -> None:
    """The life of a worker: set up, then answer calls until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        state = _attempt(pipe, lambda: resolve(setup.function)(setup.payload))
        if state is None:
            return
        pipe.send(("ready",))
        while True:
            function, payload = pipe.recv()
            answer = _attempt(pipe, lambda f=function, p=payload: resolve(f)(state[0], p))
            if answer is not None:
                pipe.send(("done", answer[0]))


def _end_with(driver: int) -> None:
    """Ends this process when the driver is gone, even in the middle of a call."""
    while os.getppid() == driver:
        time.sleep(_END_S)
    os._exit(1)


def _attempt(pipe: Connection, call: Any) -> tuple[Any] | None:
    """The result of a call, or ``None`` after its error has been sent."""
    try:
        return (call(),)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        pipe.send(("error", kind_of(error), text))
        return None
