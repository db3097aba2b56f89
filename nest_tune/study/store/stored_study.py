"""What a storage says of a study beside its trials: its row, and whether somebody works on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nest_tune.records.owner import SILENCE_S, read_owner
from nest_tune.study.store.stored_document import damaged

BESIDE = "~new"
"""End of the name of a study until it replaces another one; no other name has it."""


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
        process: That runs it, see :class:`~nest_tune.records.owner.Owner`.
        silent_s: Time since that process last showed itself, by the storage's clock.
        document: Settings and everything else that was fixed at its start.
        mark: What tells its Optuna study from another one of that name or number.
        number: Of its Optuna study.
        fence: Token and epoch of whoever may write to it: a write by any other is refused.
        is_copy: Whether somebody has copied it from another one, whose row this is.
    """

    key: int
    name: str
    created_s: float
    status: Status
    process: str
    silent_s: float = field(compare=False)
    document: Mapping[str, Any]
    mark: str = ""
    number: int = 0
    fence: tuple[str, int] = ("", 0)
    is_copy: bool = False

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
    def owner(self) -> str:
        """Host and process that were the last to run it, ``host:pid``; empty where none does."""
        owner = read_owner(self.process)
        return "" if owner is None else owner.shown

    @property
    def started_as(self) -> str:
        """The name that it was started with."""
        return str((self.document.get("settings") or {}).get("name", ""))

    @property
    def where(self) -> str:
        """Host and process of a running study, ``host:pid``; else empty."""
        return self.owner if self.is_running else ""

    @property
    def is_running(self) -> bool:
        """Whether a live process works on it, as far as can be seen from here: one that is known to
        have ended does not, and none that has been silent for a minute."""
        owner = read_owner(self.process)
        if self.status is not Status.RUNNING or owner is None:
            return False
        return self.silent_s < SILENCE_S and not owner.has_ended()
