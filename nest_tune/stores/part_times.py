"""Times of operators by the clock, kept as records of this machine, so that each is measured once.

The records lie in a database of their own in the cache folder; ``nest-tune record list --storage``
shows them. They are found by what was measured, the places, the machine (processor, instruction
set, runtime, threads) and the version of how formats are written. A database that cannot be opened
only costs time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from compiler_core.clock.machine import ClockMachine
from compiler_core.errors import NestTuneError
from compiler_core.graph.ir import Graph
from compiler_core.precision.parts import FORMATS_VERSION, PartKey
from compiler_core.precision.table import PartTimer
from compiler_core.tensor.task import Task
from compiler_core.units.registry import host_kind
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record, record_of
from nest_tune.stores.task_store import cache_folder


class MachineTimer(PartTimer, Protocol):
    """Times that belong to a machine."""

    @property
    def machine(self) -> ClockMachine:
        """Which."""
        ...


def part_times_url() -> str:
    """Where times of this user's machines are kept."""
    return f"sqlite:///{cache_folder() / 'part-times.db'}"


class RecordedTimer:
    """Measures what is not known yet.

    Args:
        timer: What measures.
        url: Of the database.

    Attributes:
        known, measured: How many times were found, and how many measured.
    """

    def __init__(self, timer: MachineTimer, url: str | None = None) -> None:
        self._timer, self._url = timer, url or part_times_url()
        self.known = self.measured = 0

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        """See :class:`~compiler_core.precision.table.PartTimer`."""
        machine = self._timer.machine.digest
        drafts = {key: _record(key, machine, MeasurementOutcome.RUNTIME, None) for key in parts}
        stored = self._found(drafts.values())
        found = {
            key: record.cycles / 1e3
            for key, draft in drafts.items()
            if (record := stored.get(draft.key)) is not None and record.cycles
        }
        refused = {key for key, draft in drafts.items() if draft.key in stored} - found.keys()
        missing = {k: make for k, make in parts.items() if k not in found and k not in refused}
        self.known += len(parts) - len(missing)
        self.measured += len(missing)
        if missing:
            fresh = self._timer.times_us(missing)
            self._keep(
                _record(key, machine, MeasurementOutcome.CORRECT, max(1, round(fresh[key] * 1e3)))
                if key in fresh
                else drafts[key]
                for key in missing
            )
            found |= fresh
        return found

    def _found(self, drafts: Iterable[Record]) -> Mapping[Any, Record]:
        keys = [draft.key for draft in drafts]
        with suppress(NestTuneError, OSError):
            cache_folder().mkdir(parents=True, exist_ok=True)
            database = RecordDatabase(self._url)
            try:
                return database.find(keys)
            finally:
                database.close()
        return {}

    def _keep(self, records: Iterable[Record]) -> None:
        with suppress(NestTuneError, OSError):
            database = RecordDatabase(self._url)
            try:
                database.add(records)
            finally:
                database.close()


def _record(
    key: PartKey, machine: str, outcome: MeasurementOutcome, nanoseconds: int | None
) -> Record:
    kind = host_kind()
    read = kind.documents
    workload = read.workload({"signature": key.signature}, "part")
    places = read.schedule({"places": list(key.places)}, "part")
    return record_of(
        Task(kind.name, workload), places, machine, FORMATS_VERSION, outcome, nanoseconds, 0
    )
