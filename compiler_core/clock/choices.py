"""What a machine and its onnxruntime leave to choose of how models run.

It needs Python 3.9 and onnxruntime, so that boards can be asked, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

OPTIMIZATIONS = ("all", "layout", "extended", "basic", "disabled")
"""Up to all that the runtime knows, up to other layouts of images (channels in blocks or last), up
to fused operators in the model's own layout, up to what changes no number, nothing."""
CPU_PROVIDER = "CPUExecutionProvider"
_ELSEWHERE = frozenset(["AzureExecutionProvider"])
"""Providers that do not run on the machine itself."""


@dataclass(frozen=True)
class RuntimeChoices:
    """What can be chosen, as far as it is worth trying.

    Attributes:
        threads: Of one operator, ascending from 1.
        optimizations: How far graphs are rewritten, as in :data:`OPTIMIZATIONS`.
        providers: Of kernels, the CPU's own first.
    """

    threads: tuple[int, ...] = (1,)
    optimizations: tuple[str, ...] = OPTIMIZATIONS[:1]
    providers: tuple[str, ...] = (CPU_PROVIDER,)

    def shared(self, other: RuntimeChoices) -> RuntimeChoices:
        """What two machines both leave to choose."""
        return RuntimeChoices(
            tuple(n for n in self.threads if n in other.threads),
            tuple(n for n in self.optimizations if n in other.optimizations),
            tuple(n for n in self.providers if n in other.providers),
        )


def choices_here() -> RuntimeChoices:
    """Of the machine that this process runs on."""
    return RuntimeChoices(possible_threads(), possible_optimizations(), available_providers())


def possible_optimizations() -> tuple[str, ...]:
    """How far this runtime rewrites graphs, as far as it is worth trying; only newer ones know
    layouts apart from the rest."""
    import onnxruntime

    known = hasattr(onnxruntime.GraphOptimizationLevel, "ORT_ENABLE_LAYOUT")
    return tuple(n for n in OPTIMIZATIONS if n != "disabled" and (known or n != "layout"))


def available_providers() -> tuple[str, ...]:
    """Of this machine, the CPU's own first."""
    import onnxruntime

    found = [name for name in onnxruntime.get_available_providers() if name not in _ELSEWHERE]
    return tuple(sorted(found, key=lambda name: (name != CPU_PROVIDER, name)))


def possible_threads() -> tuple[int, ...]:
    """Numbers of threads that are worth trying: powers of two, and all cores."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    powers = {2**n for n in range(cores.bit_length()) if 2**n <= cores}
    return tuple(sorted(powers | {cores}))
