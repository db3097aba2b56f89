"""What a storage says of a study beside its trials: its row, and whether somebody works on it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nest_tune.records.claims import is_alive
from nest_tune.study.store.stored_document import damaged


class Status(Enum):
    """What a study is doing."""

    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"
    """Before its budget was spent; it can be resumed."""
    FAILED = "failed"
    """Every trial failed in the same way."""
    DONE = "done"


class Request(Enum):
    """What another process asks of a running study."""

    NONE = ""
    STOP = "stop"
    CANCEL = "cancel"


@dataclass(frozen=True)
class StoredStudy:
    """A study's row.

    Attributes:
        key: Of the row.
        name: Unique.
        created_s: Seconds since 1970.
        status: As last written.
        owner: Process that runs it, ``host:pid``.
        beat_s: When that process last showed itself.
        document: Settings and everything else that was fixed at its start.
    """

    key: int
    name: str
    created_s: float
    status: Status
    owner: str
    beat_s: float
    document: Mapping[str, Any]

    def fixed(self, name: str) -> Any:
        """A part of :attr:`document` that every study has.

        Raises:
            InputError: It is not there.
        """
        try:
            return self.document[name]
        except KeyError as error:
            raise damaged(f"study {self.name!r}: {name}") from error

    @property
    def where(self) -> str:
        """Host and process of a running study, ``host:pid``; else empty."""
        return self.owner if self.is_running else ""

    @property
    def is_running(self) -> bool:
        """Whether a live process works on it, as far as can be seen from here."""
        if self.status is not Status.RUNNING or not self.owner:
            return False
        host, _, process = self.owner.rpartition(":")
        if host == socket.gethostname():
            return process.isdecimal() and len(process) < 20 and is_alive(int(process))
        return time.time() - self.beat_s < 60
