"""The local runner: processes on this machine, one call at a time each.

A worker is a fresh interpreter at the other end of a pipe, so that a hang or a crash costs only the
call it happened in. It inherits the variables of :mod:`nest_tune.runners.environment` and no other.
Workers ignore Ctrl-C: the driver decides what ends, and what a worker has started ends with it.
What they print goes to a file without a name; its end comes with the answer of a call that failed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from nest_tune.runners.environment import worker_environment
from nest_tune.runners.process_tree import kill_descendants, kill_tree, lead_tree
from nest_tune.runners.runner import (
    Answer,
    Ending,
    RunnerOptions,
    Setup,
    Work,
    hint_of,
    kind_of,
    resolve,
)

_SETUP_TIMEOUT_S = 600.0
_END_S = 2.0
_LOG_BYTES = 4096
_LOG_LINES = 30


def make(setup: Setup, options: RunnerOptions) -> LocalRunner:
    """A runner with ``options.jobs`` processes; they start when there is work."""
    return LocalRunner(setup, max(1, options.jobs))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    log: int
    ready: bool
    work: Work | None
    since: float


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """While a process is started, so that it does not run the user's script, which may begin the
    study without asking whether it is the main one. Workers resolve functions by module and
    name."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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
            if idle.ready:
                os.ftruncate(idle.log, 0)
            with contextlib.suppress(OSError):  # a dead worker is noticed when it is waited for
                idle.pipe.send((idle.work.function, idle.work.payload))

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        log, path = tempfile.mkstemp(prefix="nest-tune-log-")
        told = replace(self._setup, files={}, environment={})  # both are there by other ways
        process = self._context.Process(
            target=serve, args=(theirs, told, os.getpid(), path), daemon=True
        )
        with worker_environment(self._setup.environment), _without_main():
            process.start()
        theirs.close()
        worker = _Worker(process, ours, log, False, None, time.monotonic())
        self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        assert worker.process.pid is not None
        # The number of a process that has been waited for may be another one's by now.
        kill = kill_tree if worker.process.is_alive() else kill_descendants
        kill(worker.process.pid)
        worker.process.join(_END_S)
        worker.pipe.close()
        os.close(worker.log)

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
                ticket, log = worker.work.ticket, _last_lines(worker.log)
                answers.append(
                    Answer(ticket, Ending.TIMEOUT, message=message, wall_s=allowed, log=log)
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
            message, log = _death(worker.process.exitcode), _last_lines(worker.log)
            self._end(worker)
            return [Answer(ticket, Ending.LOST, message=message, wall_s=wall_s, log=log)]
        if kind == "ready":
            worker.ready = True
            worker.since = time.monotonic()
            return []
        worker.work = None
        if kind == "done":
            return [Answer(ticket, Ending.DONE, value=rest[0], wall_s=wall_s)]
        (error, message, hint), log = rest, _last_lines(worker.log)
        if not worker.ready:  # the setup failed: the next call tries again
            self._end(worker)
        return [Answer(ticket, Ending.ERROR, None, error, message, wall_s, log, hint)]


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the worker was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"the worker ended with code {code}"


def _last_lines(log: int) -> str:
    """The end of what a worker has written."""
    size = os.fstat(log).st_size
    text = os.pread(log, _LOG_BYTES, max(0, size - _LOG_BYTES)).decode(errors="replace")
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _write_to(log: str) -> None:
    """Lets this process print to a file that nobody else finds, and its crashes, too."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    Path(log).unlink()
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()


def serve(pipe: Connection, setup: Setup, driver: int, log: str) -> None:
    """The life of a worker: set up, then answer calls until the pipe is closed, as it is when the
    driver ends in whatever way. What calls have started ends with it."""
    lead_tree()
    _write_to(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    try:
        with contextlib.suppress(EOFError, OSError):
            _answer(pipe, setup)
    finally:
        kill_descendants(os.getpid())


def _answer(pipe: Connection, setup: Setup) -> None:
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
    """Ends this process when the driver is gone, even in the middle of a call, and its children."""
    while os.getppid() == driver:
        time.sleep(_END_S)
    kill_descendants(os.getpid())
    os._exit(1)


def _attempt(pipe: Connection, call: Any) -> tuple[Any] | None:
    """The result of a call, or ``None`` after its error has been sent."""
    try:
        return (call(),)
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split()) or type(error).__name__
        pipe.send(("error", kind_of(error), text, hint_of(error)))
        return None
