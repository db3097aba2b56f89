"""The measurement database: listed, exported, imported, verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from os import environ
from pathlib import Path
from typing import IO

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from compiler_core.targets.task_target import TaskTarget, load_task_target
from compiler_core.units.registry import kind_of_machine
from nest_tune.api.values import PathName
from nest_tune.records.database import RecordDatabase, RecordTally, tally_of
from nest_tune.records.jsonl import read_records, write_records
from nest_tune.records.record import Record, machine_digest
from nest_tune.study.request.settings import storage_url
from nest_tune.tuning.measure import measure

_IMPORTED = 5000
"""Records that an import holds at a time."""
_REASONS = 100
"""Lines that are wrong of which an import tells why."""


@dataclass(frozen=True)
class RecordedTask:
    """What is known of one task on one machine, by one lowering.

    Attributes:
        task: Key of the task.
        target: Digest of the machine.
        lowering: Version of the kind's lowering.
        records: Schedules that were measured.
        failed: How many of them have no cycles.
        best_cycles: The least; ``None`` where all failed.
    """

    task: str
    target: str
    lowering: int
    records: int
    failed: int
    best_cycles: int | None


@dataclass(frozen=True)
class RecordList:
    """What a database holds.

    Attributes:
        storage: Its name, without secrets.
        records: Sound ones.
        corrupt: Rows that were skipped.
        digest: Of the sound ones.
        tasks: What they are of, in the order of their first record.
    """

    storage: str
    records: int
    corrupt: int
    digest: str
    tasks: tuple[RecordedTask, ...]


@dataclass(frozen=True)
class ImportedRecords:
    """What an import took.

    Attributes:
        imported: Records.
        skipped: Lines that were left out.
        reasons: What is wrong with the first of them.
    """

    imported: int
    skipped: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class DifferentRecord:
    """A record that does not hold.

    Attributes:
        task, schedule: Keys.
        recorded, measured: Cycles; ``None`` where the schedule fails by now.
    """

    task: str
    schedule: str
    recorded: int
    measured: int | None


@dataclass(frozen=True)
class VerifiedRecords:
    """What a check found.

    Attributes:
        storage: Name of the database, without secrets.
        records: Sound ones.
        corrupt: Rows whose checksum does not hold.
        removed: How many of them were deleted.
        different: Records with other cycles than measured now.
    """

    storage: str
    records: int
    corrupt: int
    removed: int
    different: tuple[DifferentRecord, ...]

    @property
    def ok(self) -> bool:
        """Whether all that is left holds."""
        return not self.different and self.corrupt <= self.removed


def list_records(storage: str | None = None) -> RecordList:
    """Lists what was measured, by task, machine and lowering.

    Args:
        storage: Database; ``NEST_TUNE_STORAGE`` or ``sqlite:///nest-tune.db`` without.

    Raises:
        InputError: There is no such database, or it cannot be read.

    Example:
        >>> import nest_tune
        >>> task = nest_tune.tasks("examples/digits/model.onnx", "vta")[0]
        >>> _ = nest_tune.tune_task(task, "vta", sampler="random", trials=8)
        >>> nest_tune.list_records().tasks[0].best_cycles > 0
        True
    """
    with closing(RecordDatabase(storage_url(storage, environ))) as database:
        return database.read(lambda records: _listed(database.name, records))


def _listed(name: str, records: Iterable[Record | None]) -> RecordList:
    """Records by task, machine and lowering."""
    tasks: dict[tuple[str, str, int], RecordedTask] = {}
    tally = RecordTally()
    for record in records:
        tally.add(record)
        if record is None:
            continue
        key = (record.task, record.target, record.lowering)
        known = tasks.get(key, RecordedTask(*key, 0, 0, None))
        least = [cycles for cycles in (known.best_cycles, record.cycles) if cycles is not None]
        failed = known.failed + (record.cycles is None)
        tasks[key] = RecordedTask(*key, known.records + 1, failed, min(least, default=None))
    return RecordList(name, tally.records, tally.corrupt, tally.digest, tuple(tasks.values()))


def export_records(output: PathName, storage: str | None = None) -> RecordList:
    """Writes all sound records as JSON lines.

    Args:
        output: File.
        storage: As for :func:`list_records`.

    Returns:
        What was written.

    Raises:
        InputError: The file cannot be written, or the database cannot be read.
    """
    require_writable(Path(output), "--output")
    found: list[RecordList] = []
    with closing(RecordDatabase(storage_url(storage, environ))) as database:

        def written(stream: IO[bytes], records: Iterable[Record | None]) -> RecordList:
            stream.seek(0)  # where the database was lost meanwhile, this is not the first time
            stream.truncate()
            return _listed(database.name, _writing(stream, records))

        def write(stream: IO[bytes]) -> None:
            found.append(database.read(partial(written, stream)))

        write_atomically(Path(output), write)
    return found[0]


def _writing(stream: IO[bytes], records: Iterable[Record | None]) -> Iterator[Record | None]:
    """The same records, each written before it is handed on."""
    for record in records:
        if record is not None:
            write_records((record,), stream)
        yield record


def import_records(file: PathName, storage: str | None = None) -> ImportedRecords:
    """Adds the records of a file; lines that are wrong are left out.

    Args:
        file: JSON lines, as :func:`export_records` writes them.
        storage: As for :func:`list_records`.

    Raises:
        InputError: None of the lines is a record, or the database cannot be written.
    """
    reasons: list[str] = []
    skipped = 0

    def sound() -> Iterator[Record]:
        nonlocal skipped
        for _, entry in read_records(Path(file)):
            if isinstance(entry, Record):
                yield entry
                continue
            skipped += 1
            if len(reasons) < _REASONS:
                reasons.append(entry.message)

    entries = sound()
    batch, count = list(islice(entries, _IMPORTED)), 0
    if skipped and not batch:
        raise InputError(f"{file}: none of {skipped} lines is a record", hint=reasons[0])
    with closing(RecordDatabase(storage_url(storage, environ))) as database:
        while batch:
            database.add(batch)
            count += len(batch)
            batch = list(islice(entries, _IMPORTED))
    return ImportedRecords(count, skipped, tuple(reasons))


def verify_records(
    storage: str | None = None,
    *,
    target: str | TaskTarget | None = None,
    remeasure: int = 0,
    remove: bool = False,
) -> VerifiedRecords:
    """Checks every checksum, and the cycles of some records.

    Args:
        storage: As for :func:`list_records`.
        target: Whose records are measured again.
        remeasure: How many of them, spread over all.
        remove: Delete rows whose checksum does not hold.

    Raises:
        InputError: The database cannot be read, or ``remeasure`` is asked for without a target.
    """
    if remeasure and target is None:
        raise InputError("--remeasure: --target is needed, too")
    with closing(RecordDatabase(storage_url(storage, environ))) as database:
        tally = database.read(tally_of)
        removed = database.remove_corrupt() if remove else 0
        different: tuple[DifferentRecord, ...] = ()
        if target is not None:
            chip = load_task_target(target)
            different = _different(database, chip, remeasure)
        return VerifiedRecords(database.name, tally.records, tally.corrupt, removed, different)


def _different(
    database: RecordDatabase, chip: TaskTarget, count: int
) -> tuple[DifferentRecord, ...]:
    machines = {
        (machine_digest(unit.machine), kind_of_machine(unit.machine).lowering_version): unit.machine
        for unit in chip.units
    }

    def ours(records: Iterable[Record | None]) -> Iterator[Record]:
        for record in records:
            is_here = record is not None and (record.target, record.lowering) in machines
            if is_here and record is not None and record.cycles is not None:
                yield record

    total = database.read(lambda records: sum(1 for _ in ours(records))) if count else 0
    if not total:
        return ()
    step = max(1, total // count)
    chosen = database.read(lambda records: list(islice(ours(records), 0, step * count, step)))
    found = []
    for record in chosen:
        core = machines[record.target, record.lowering]
        again = measure(record.task_value().workload, record.schedule_value(), core)
        if record.cycles is not None and again.cycles != record.cycles:
            entry = DifferentRecord(record.task, record.schedule, record.cycles, again.cycles)
            found.append(entry)
    return tuple(found)
