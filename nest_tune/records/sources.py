"""Where a tuning looks up what was measured: records of one moment, in memory or in a database.

A database is asked for what is wanted, task by task, so that memory does not grow with the number
of its records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import groupby
from typing import Protocol

from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import MeasurementOutcome, Record

Use = Callable[[str, list[Record]], None]
"""Takes the key of a task and the best of its records."""


class RecordSource(Protocol):
    """Sound records of one moment."""

    def of_task(self, task: str, target: str, lowering: int) -> Sequence[Record]:
        """Records of a task on a machine, in the order of their schedules."""
        ...

    def count_tasks(self, target: str, lowering: int) -> int:
        """How many tasks were measured on a machine."""
        ...

    def best(self, target: str, lowering: int, count: int, use: Use) -> None:
        """Hands over the fastest ``count`` records of each task, in the order of their keys; from
        the first one again where the database is lost meanwhile."""
        ...


class HeldRecords:
    """Records in memory.

    Args:
        snapshot: All of them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._tasks: dict[tuple[str, str, int], list[Record]] = {}
        for record in snapshot.records:
            self._tasks.setdefault((record.task, record.target, record.lowering), []).append(record)

    def of_task(self, task: str, target: str, lowering: int) -> Sequence[Record]:
        return self._tasks.get((task, target, lowering), [])

    def count_tasks(self, target: str, lowering: int) -> int:
        return sum(key[1:] == (target, lowering) for key in self._tasks)

    def best(self, target: str, lowering: int, count: int, use: Use) -> None:
        for key in sorted(self._tasks):
            if key[1:] == (target, lowering):
                chosen = fastest(self._tasks[key], count)
                if chosen:
                    use(key[0], chosen)


class StoredRecords:
    """Records in a database, as they were at one moment.

    Args:
        database: Open as long as this is used.
        until: What :meth:`~nest_tune.records.database.RecordDatabase.newest` gave at that moment.
    """

    def __init__(self, database: RecordDatabase, until: int) -> None:
        self._database, self._until = database, until

    def of_task(self, task: str, target: str, lowering: int) -> Sequence[Record]:
        found = self._database.snapshot(
            task=task, target=target, lowering=lowering, until=self._until
        )
        return found.records

    def count_tasks(self, target: str, lowering: int) -> int:
        return self._database.count_tasks(target, lowering, self._until)

    def best(self, target: str, lowering: int, count: int, use: Use) -> None:
        def handed_over(records: Iterator[Record | None]) -> None:
            sound = (record for record in records if record is not None)
            for task, own in groupby(sound, key=lambda record: record.task):
                if chosen := fastest(own, count):
                    use(task, chosen)

        self._database.read(handed_over, target=target, lowering=lowering, until=self._until)


def fastest(records: Iterable[Record], count: int) -> list[Record]:
    """The records of correct runs that take the fewest cycles, in that order."""
    correct = (record for record in records if record.outcome is MeasurementOutcome.CORRECT)
    return nsmallest(count, correct, key=lambda record: (record.cycles or 0, record.schedule))
