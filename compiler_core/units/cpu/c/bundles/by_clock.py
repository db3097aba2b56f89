"""Programs for this machine, timed by the clock with the rules of :mod:`compiler_core.clock`:
warmed up until nothing changes, in interleaved rounds, with intervals and what speaks against them.

A program is built as a shared library and called where it is timed, so that no start of a process
is in its time.
"""

from __future__ import annotations

import _ctypes
import ctypes
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from compiler_core.clock.conditions import Clock
from compiler_core.clock.pinning import pinned
from compiler_core.clock.together import Run, Together, measure_together
from compiler_core.clock.turns import HERE, first_free
from compiler_core.errors import CheckError
from compiler_core.units.cpu.c.bundles.cores import CORES, build

ROUNDS = 50
BUDGET_S = 3.0

_RUN = "nt_main"
_LIBRARY = replace(
    CORES["c99"], flags=(*CORES["c99"].flags, "-fPIC", f"-Dmain={_RUN}"), link=("-shared",)
)


def time_programs(
    folders: Mapping[str, Path],
    *,
    rounds: int = ROUNDS,
    budget_s: float = BUDGET_S,
    clock: Clock | None = None,
) -> Together:
    """Times programs together on one core of this machine, which nobody else times on meanwhile.

    Args:
        folders: Of bundles with ``count.c``, by name.
        rounds: Of one run of each.
        budget_s: After so much time no round begins, but a few are made.
        clock: Of this machine, if not given.

    Raises:
        MissingDependencyError: There is no C compiler.
        CheckError: It refuses the sources, or a program does not run.
    """
    with first_free([HERE]), pinned(1), tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        libraries = {}
        for number, (name, folder) in enumerate(folders.items()):
            libraries[name] = Path(scratch) / f"program{number}.so"
            build(_LIBRARY, folder, libraries[name], main="count.c", extra="clock_once.c")
        with _opened(libraries) as runs:
            return measure_together(runs, repeats=rounds, budget_s=budget_s, clock=clock)


def costs_ns(together: Together, names: Sequence[str]) -> list[float]:
    """Nanoseconds of candidates that were timed together: the first one's median, times the median
    of the ratios to it. One that is not told apart from the first costs the same.

    Args:
        together: What was measured.
        names: Of candidates, the usual one first.
    """
    usual = 1e3 * together.latency_us(names[0]).value
    found = [usual]
    for name in names[1:]:
        ratio = together.ratio(name, names[0])
        found.append(usual if ratio.low <= 1.0 <= ratio.high else usual * ratio.value)
    return found


@contextmanager
def _opened(libraries: Mapping[str, Path]) -> Iterator[dict[str, Run]]:
    """What runs each library once, until the end of the block."""
    opened = {}
    try:
        for name, path in libraries.items():
            try:
                opened[name] = ctypes.CDLL(str(path))
            except OSError as error:
                raise CheckError(f"core c99: the program cannot be loaded: {error}") from error
        runs: dict[str, Run] = {}
        for name, found in opened.items():
            if not hasattr(found, _RUN):
                raise CheckError(f"core c99: the program has no function {_RUN}")
            runs[name] = getattr(found, _RUN)
        for run in runs.values():
            if run():
                raise CheckError("core c99: the program does not end as it should")
        yield runs
    finally:
        for found in opened.values():
            _ctypes.dlclose(found._handle)
