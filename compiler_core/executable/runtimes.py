"""Runtimes by name: entry points of the group ``nest_tune.runtimes``.

A runtime computes the integer segments of a package; all give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.plugins.registry import Registry, load, named

if TYPE_CHECKING:
    from compiler_core.executable.backends import Backend, Observer
    from compiler_core.executable.executable import Executable


@dataclass(frozen=True)
class RuntimeKind:
    """A runtime and what it can do.

    Attributes:
        name: Of its entry point.
        summary: What computes, in a few words.
        make: ``module:function``, called ``(executable, threads=N)``, and with ``observer`` where
            it observes: a :class:`~compiler_core.executable.backends.Backend`.
        observes: Whether it executes launches, and can tell of each.
    """

    name: str
    summary: str
    make: str
    observes: bool = False


DEFAULT_RUNTIME = "simulator"
"""Where nobody names one."""

RUNTIMES: Registry[RuntimeKind] = Registry("nest_tune.runtimes", "runtime", named(RuntimeKind))

SIMULATOR = RuntimeKind(
    "simulator",
    "the compiled programs, on the functional simulator",
    "compiler_core.executable.backends:Simulator",
    observes=True,
)
REFERENCE = RuntimeKind(
    "reference",
    "the integer operators themselves, without programs",
    "compiler_core.executable.backends:Reference",
)


def make_backend(
    name: str, executable: Executable, *, threads: int = 1, observer: Observer | None = None
) -> Backend:
    """A runtime for a package.

    Args:
        name: Of the runtime.
        executable: What it computes.
        threads: Runs, or parts of one, at the same time; they never change the bits.
        observer: Told of every launch of the first run.

    Raises:
        InputError: There is none of that name, it cannot be loaded, or it cannot tell of launches.
    """
    kind = RUNTIMES.get(name)
    if observer is not None and not kind.observes:
        raise InputError(f"runtime {name!r} has no launches to tell of")
    make: Any = load(kind.make, f"runtime {name!r}")
    more = {} if observer is None else {"observer": observer}
    made: Backend = make(executable, threads=threads, **more)
    return made
