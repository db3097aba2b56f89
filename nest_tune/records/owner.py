"""Which process runs a study: who it is, and whether it still lives as far as can be seen here.

A process id names a process only together with the boot of its machine, its namespace of process
ids (a container has its own, often under an equal host name) and the moment it was started. Where
all of these are this machine's, a process that has ended is known to have ended; of others, and of
one that sleeps, only their silence is known.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SILENCE_S = 60.0
"""A process that has shown no sign of life for so long works no more on its study."""


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: Name of its machine.
        process: Its id there.
        boot: Of the machine, and its namespace of ids.
        started: When it was, in ticks since the boot.
    """

    host: str
    process: int
    boot: str
    started: int

    @property
    def text(self) -> str:
        """As it is stored."""
        return f"{self.host}:{self.process}:{self.boot}:{self.started}"

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.host}:{self.process}"

    def has_ended(self) -> bool:
        """Whether it is known to have: it was one of this machine's, and is no more."""
        return self.boot == _boot() and _started(self.process) != self.started


def this_process() -> Owner:
    """The process that calls."""
    process = os.getpid()
    return Owner(socket.gethostname(), process, _boot(), _started(process))


def read_owner(text: str) -> Owner | None:
    """Inverse of :attr:`Owner.text`; ``None`` where it names no process."""
    parts = text.rsplit(":", 3)
    if len(parts) != 4 or not all(_is_number(part) for part in (parts[1], parts[3])):
        return None
    return Owner(parts[0], int(parts[1]), parts[2], int(parts[3]))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


@cache
def _boot() -> str:
    """Identity of the running system and of the namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:  # no such files: only silence tells
        return ""


def _started(process: int) -> int:
    """Ticks since the boot at which a process was started; 0 where there is none."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0
    fields = status.rpartition(")")[2].split()
    # A zombie has ended: it only waits for its parent to hear of it.
    return 0 if fields[0] in "ZX" else int(fields[19])
