"""The seam between a study and whatever computes: plain values in, plain values out.

A runner has workers. Each builds its state once with a *setup* function, and then applies *work*
functions to that state. Functions are named ``module:function`` and are imported by the worker;
their arguments and results are plain: ``None``, numbers, texts, bytes, lists and dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any, Protocol

from compiler_core.errors import (
    MissingDependencyError,
    NestTuneError,
    ResourceError,
)
from compiler_core.files.exhausted import lack_of
from compiler_core.plugins.registry import Registry, named

Plain = Any
"""``None``, bool, int, float, str, bytes, list or dict of those."""

ATTEMPTS = 3
"""A call whose worker died is made again, and given up after so many deaths."""


@dataclass(frozen=True)
class Setup:
    """What every worker starts with.

    Attributes:
        function: ``module:function`` that makes a worker's state from ``payload``.
        payload: Its argument.
        files: Entries of ``payload`` that are paths of files, and the files that belong to each:
            first the one of that path, then others in its folder or below. Workers that do not see
            the driver's files get copies, and the paths of those.
        environment: Variables that workers have beside the usual ones; may hold secrets.
    """

    function: str
    payload: Plain
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Needs:
    """What a call needs of the machine that it runs on.

    Attributes:
        cpus: Cores.
        memory_bytes: 0 where it does not matter.
    """

    cpus: int = 1
    memory_bytes: int = 0


@dataclass(frozen=True)
class Work:
    """One call.

    Attributes:
        ticket: Names the call; never used twice.
        function: ``module:function``, called with the worker's state and ``payload``.
        payload: Its argument.
        timeout_s: Time from its beginning on a worker until it is given up.
        needs: Runners that know their machines see to it.
    """

    ticket: int
    function: str
    payload: Plain
    timeout_s: float
    needs: Needs = Needs()


class Ending(Enum):
    """How a call ended."""

    DONE = "done"
    ERROR = "error"
    """The function raised."""
    TIMEOUT = "timeout"
    LOST = "lost"
    """The worker died."""


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        ticket: Of the call.
        ending: How it ended.
        value: The result, where it is done.
        error: Kind of what was raised, see :func:`kind_of`.
        message: What was raised, in one line.
        wall_s: Time on the worker.
        log: Last lines that the worker wrote in this call, where it is not done.
        hint: What to do about what was raised; empty where nobody knows.
    """

    ticket: int
    ending: Ending
    value: Plain = None
    error: str = ""
    message: str = ""
    wall_s: float = 0.0
    log: str = ""
    hint: str = ""


class Runner(Protocol):
    """Runs calls on workers; at most four methods."""

    def submit(self, work: Work) -> None:
        """Accepts a call; it begins as soon as a worker is free, in the order of submission."""
        ...

    def wait(self, timeout_s: float) -> list[Answer]:
        """Answers that have come; waits for the first of them, and at most ``timeout_s``."""
        ...

    def cancel(self, ticket: int) -> None:
        """Gives a call up: it has no answer any more. Unknown and finished ones are ignored."""
        ...

    def close(self) -> None:
        """Ends all workers now; may be called twice."""
        ...


@dataclass(frozen=True)
class RunnerOptions:
    """What a user says of the runner.

    Attributes:
        jobs: Calls at the same time; 0 for as many as the runner finds fit.
        address: Of a cluster, where the runner has one.
    """

    jobs: int = 1
    address: str | None = None


@dataclass(frozen=True)
class RunnerKind:
    """A runner and what it can do.

    Attributes:
        name: Of its entry point.
        summary: Where it runs calls, in a few words.
        make: ``module:function``, called ``(setup, options)``: a :class:`Runner`.
        computes: Whether it makes calls at all; else only what storage holds has an answer.
        spreads: Whether its workers are on other machines: then they measure schedules of tasks,
            too, and take all that there is where nobody says how many jobs.
    """

    name: str
    summary: str
    make: str
    computes: bool = True
    spreads: bool = False

    @property
    def default_jobs(self) -> int:
        """Where nobody says how many; 0 for all that there is."""
        return 0 if self.spreads else 1


DEFAULT_RUNNER = "local"
"""Where nobody names one."""

RUNNERS: Registry[RunnerKind] = Registry("nest_tune.runners", "runner", named(RunnerKind))


def make_runner(name: str, setup: Setup, options: RunnerOptions) -> Runner:
    """A runner by name.

    Raises:
        InputError: There is none of that name, or it cannot be loaded.
        MissingDependencyError: What it builds on is not installed.
    """
    kind = RUNNERS.get(name)
    try:
        make: Callable[[Setup, RunnerOptions], Runner] = resolve(kind.make)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"runner {name!r} needs the Python package {error.name!r}", hint="nest-tune doctor"
        ) from error
    return make(setup, options)


def resolve(name: str) -> Callable[..., Any]:
    """The function ``module:function``."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def kind_of(error: BaseException) -> str:
    """Name of the nearest class of :mod:`compiler_core.errors`, else of the error's own class; what
    a machine lacks is a :class:`~compiler_core.errors.ResourceError` whoever raised it."""
    if lack_of(error) is not None:
        return ResourceError.__name__
    for kind in type(error).__mro__:
        if kind.__module__ == NestTuneError.__module__:
            return kind.__name__
    return type(error).__name__


def hint_of(error: BaseException) -> str:
    """What an error says that one should do."""
    return (error.hint or "") if isinstance(error, NestTuneError) else ""
