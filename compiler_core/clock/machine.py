"""Which machine a time by the clock belongs to: another one's times, and even its bits, are others.

Integer kernels saturate on some processors and not on others, so that an accuracy that was measured
belongs to the machine as the latency does.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686", "x86")
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class ClockMachine:
    """A machine as far as times depend on it.

    Attributes:
        model: Of the processor.
        architecture: ``x86_64``, ``aarch64`` …
        flags: Of its instruction set, sorted, with blanks between.
        cores: That it has.
        runtime: Name and version of what runs models.
        threads: Of the runtime.
    """

    model: str
    architecture: str
    flags: str
    cores: int
    runtime: str
    threads: int = 1

    @property
    def digest(self) -> str:
        """Key of what was measured on it."""
        parts = (self.model, self.architecture, self.flags, self.runtime)
        text = "\n".join((*parts, str(self.cores), str(self.threads)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def is_like(self, other: ClockMachine) -> bool:
        """Whether two machines run the same instructions with the same runtime, so that ratios of
        times can be compared."""
        own = (self.architecture, self.flags, self.runtime, self.threads)
        return own == (other.architecture, other.flags, other.runtime, other.threads)

    @property
    def saturates(self) -> bool:
        """Whether its kernels add two products of uint8 and int8 in 16 bits, which can be too
        small: x86 without instructions for dot products of 8 bits."""
        has_dot_products = any("vnni" in flag for flag in self.flags.split())
        return self.architecture.lower() in _X86 and not has_dot_products

    @property
    def text(self) -> str:
        """In one line, for people."""
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.model} ({self.architecture}, {self.cores} cores), {self.runtime}, {threads}"


def this_machine(threads: int = 1) -> ClockMachine:
    """The machine that this process runs on.

    Args:
        threads: Of the runtime.
    """
    found = cpu_info(_CPU_INFO.read_text(errors="replace") if _CPU_INFO.exists() else "")
    return ClockMachine(
        found.get("model") or platform.processor() or "unknown processor",
        platform.machine() or "unknown architecture",
        found.get("flags", ""),
        os.cpu_count() or 1,
        f"onnxruntime {metadata.version('onnxruntime')}",
        threads,
    )


def cpu_info(text: str) -> Mapping[str, str]:
    """``model`` and ``flags`` of the first processor in the text of ``/proc/cpuinfo``.

    Processors of x86 have a name there; those of ARM have numbers of who made which part.
    """
    fields = dict(_fields(text))
    arm = [fields[name] for name in ("CPU implementer", "CPU part") if name in fields]
    model = fields.get("model name") or " ".join(arm) or fields.get("uarch", "")
    if "stepping" in fields and "cpu family" in fields:
        model += f" family {fields['cpu family']} model {fields.get('model', '?')}"
    flags = fields.get("flags") or fields.get("Features") or fields.get("isa", "")
    return {"model": model, "flags": " ".join(sorted(flags.split()))}


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), " ".join(value.split())
