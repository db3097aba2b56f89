"""Cases run in a process of their own, so that one that kills or hangs it costs only itself."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection

from tests.conformance.onnx_suite.cases import Case
from tests.conformance.onnx_suite.outcome import Cause, Outcome, outcome

SECONDS = 300.0
"""Of one case; the largest network takes a minute on a loaded machine."""

_MEMORY_BYTES = 8 << 30
_CASES_PER_PROCESS = 200


def guarded(cases: Iterable[Case], seconds: float = SECONDS) -> Iterator[Outcome]:
    """The outcome of every case, in order."""
    child: _Child | None = None
    for case in cases:
        if child is None or child.done >= _CASES_PER_PROCESS:
            if child is not None:
                child.stop()
            child = _Child()
        found = child.outcome(case, seconds)
        if found is None:
            child.stop()
            child = None
            found = Outcome(f"{case.kind}/{case.name}", Cause.CRASH, "the process died or hung")
        yield found
    if child is not None:
        child.stop()


class _Child:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.done = 0

    def outcome(self, case: Case, seconds: float) -> Outcome | None:
        self.done += 1
        try:
            self._pipe.send(case)
            if not self._pipe.poll(seconds):
                return None
            found: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            return None
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(case))
