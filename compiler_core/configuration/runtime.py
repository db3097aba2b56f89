"""How onnxruntime runs a model on this machine, in configurations: the table ``runtime``.

    [runtime]
    threads = 2
    spinning = false
    optimization = "extended"
    provider = "XNNPACKExecutionProvider"

Left out, a model runs on one thread with everything that the runtime does by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler_core.clock.choices import CPU_PROVIDER, OPTIMIZATIONS, available_providers
from compiler_core.clock.sessions import session_options
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import from_plain, to_plain

RUNTIME = "runtime"
"""Name of the table, and of the decisions of a study."""

_MOST_THREADS = 1024


@dataclass(frozen=True)
class Runtime:
    """Options of a session.

    Attributes:
        threads: Of one operator.
        spinning: Whether threads wait for work at full speed.
        optimization: How far the runtime rewrites the graph, one of
            :data:`~compiler_core.clock.choices.OPTIMIZATIONS`.
        provider: Of kernels, by the runtime's name; what it lacks the CPU's own runs.
    """

    threads: int = 1
    spinning: bool = True
    optimization: str = OPTIMIZATIONS[0]
    provider: str = CPU_PROVIDER

    @property
    def providers(self) -> list[str]:
        """As a session takes them."""
        return list(dict.fromkeys([self.provider, CPU_PROVIDER]))

    def session_options(self) -> Any:
        """As onnxruntime takes them."""
        return session_options(self.threads, spinning=self.spinning, optimization=self.optimization)


def is_worth_trying(runtime: Runtime) -> bool:
    """Whether options differ from those of a simpler runtime: spinning says nothing of one thread,
    and other providers rewrite graphs themselves."""
    if runtime.threads == 1 and not runtime.spinning:
        return False
    return runtime.provider == CPU_PROVIDER or runtime.optimization == OPTIMIZATIONS[0]


def runtime_table(runtime: Runtime) -> dict[str, Any]:
    """The table, empty for the default."""
    table: dict[str, Any] = to_plain(runtime) if runtime != Runtime() else {}
    return table


def read_runtime(value: Any, where: str) -> Runtime:
    """The inverse of :func:`runtime_table`.

    Raises:
        InputError: A key is unknown, a value of the wrong type or nothing that there is.
    """
    if not value:
        return Runtime()
    found = from_plain(Runtime, value, where)
    if not 1 <= found.threads <= _MOST_THREADS:
        raise InputError(f"{where}: threads = {found.threads}; 1 to {_MOST_THREADS} can be")
    if found.optimization not in OPTIMIZATIONS:
        raise InputError(
            f"{where}: optimization = {found.optimization!r}; allowed are "
            f"{', '.join(OPTIMIZATIONS)}",
            hint=did_you_mean(found.optimization, OPTIMIZATIONS),
        )
    return found


def require_provider(runtime: Runtime) -> None:
    """Refuses a provider that this installation of onnxruntime does not have.

    Raises:
        InputError: It does not.
    """
    known = available_providers()
    if runtime.provider not in known:
        raise InputError(
            f"runtime: provider {runtime.provider!r} is not in this onnxruntime; it has "
            f"{', '.join(known)}",
            hint="install an onnxruntime that has it, or leave provider out",
        )
