"""Records: one measured (task, schedule) with its cost or the class of its failure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, refuse_unknown, to_plain
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_id, kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule


class MeasurementOutcome(Enum):
    """How a measurement ended."""

    CORRECT = "correct"
    TIMEOUT = "timeout"
    COMPILE = "compile"
    RUNTIME = "runtime"
    CORRECTNESS = "correctness"
    CONSTRAINTS = "constraints"


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement.

    Attributes:
        task: Key of the task: kind of unit and digest of the workload.
        schedule: Digest of the schedule.
        target: Digest of the machine that ran it.
        lowering: Version of the lowering.
        outcome: How it ended.
        cycles: Its cost, ``None`` where there is none.
        dram_bytes: Bytes that the run moved.
        workload_text, schedule_text: What was measured, as canonical JSON.
        checksum: Over all other fields.
    """

    task: str
    schedule: str
    target: str
    lowering: int
    outcome: MeasurementOutcome
    cycles: int | None
    dram_bytes: int
    workload_text: str
    schedule_text: str
    checksum: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a measurement is found by."""
        return self.task, self.schedule, self.target, self.lowering

    def expected_checksum(self) -> str:
        """Checksum of the other fields."""
        fields = [*self.key, self.outcome.value, self.cycles, self.dram_bytes]
        text = json.dumps([*fields, self.workload_text, self.schedule_text])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sealed(self) -> Record:
        """The record with its checksum."""
        return replace(self, checksum=self.expected_checksum())

    @property
    def is_sound(self) -> bool:
        """Whether the checksum holds."""
        return self.checksum == self.expected_checksum()

    def task_value(self) -> Task:
        """The task that was measured.

        Raises:
            InputError: The kind of unit is not known, or its text is no workload.
        """
        kind, document = kind_of_id(self.task), json.loads(self.workload_text)
        where = f"record {self.task}: workload"
        return Task(kind.name, kind.documents.workload(document, where))

    def schedule_value(self) -> Any:
        """The schedule that was measured.

        Raises:
            InputError: The kind of unit is not known, or its text is none.
        """
        kind, document = kind_of_id(self.task), json.loads(self.schedule_text)
        return kind.documents.schedule(document, f"record {self.schedule}: schedule")


def machine_digest(machine: Machine) -> str:
    """Key of what cycles depend on in a machine."""
    return kind_of_machine(machine).documents.machine_digest(machine)


def record_of(
    task: Task,
    schedule: TaskSchedule,
    target: str,
    lowering: int,
    outcome: MeasurementOutcome,
    cycles: int | None,
    dram_bytes: int,
) -> Record:
    """Builds a sealed record."""  # fmt: skip
    return Record(
        task.key,
        schedule.digest,
        target,
        lowering,
        outcome,
        cycles,
        dram_bytes,
        plain_text(task.workload),
        plain_text(schedule),
    ).sealed()


def plain_text(value: Any) -> str:
    """Canonical JSON of a frozen value."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))


_KEYS = (
    "task", "schedule", "target", "lowering", "outcome", "cycles", "dram_bytes",
    "workload", "schedule_values", "checksum",
)  # fmt: skip


def record_to_plain(record: Record) -> dict[str, Any]:
    """A record as one JSON object."""
    return {
        "task": record.task,
        "schedule": record.schedule,
        "target": record.target,
        "lowering": record.lowering,
        "outcome": record.outcome.value,
        "cycles": record.cycles,
        "dram_bytes": record.dram_bytes,
        "workload": json.loads(record.workload_text),
        "schedule_values": json.loads(record.schedule_text),
        "checksum": record.checksum,
    }


@lru_cache(maxsize=1024)
def _task_key(task: str, workload_text: str) -> str:
    """Key of what a record is of; files hold thousands of records of one task."""
    kind, document = kind_of_id(task), json.loads(workload_text)
    workload = kind.documents.workload(document, f"record {task}: workload")
    return Task(kind.name, workload).key


def record_from_plain(document: Any, where: str) -> Record:
    """Reads what :func:`record_to_plain` writes; digests and checksum have to fit.

    Raises:
        InputError: A key is unknown or missing, a value has another type, or something does not
            belong together.
    """
    if not isinstance(document, Mapping):
        raise InputError(f"{where}: not a record; a JSON object is needed")
    refuse_unknown(document, list(_KEYS), where)
    for key in _KEYS:
        if key not in document:
            raise InputError(f"{where}: key {key!r} is missing")
    record = Record(
        from_plain(str, document["task"], f"{where}: task"),
        from_plain(str, document["schedule"], f"{where}: schedule"),
        from_plain(str, document["target"], f"{where}: target"),
        from_plain(int, document["lowering"], f"{where}: lowering"),
        from_plain(MeasurementOutcome, document["outcome"], f"{where}: outcome"),
        None
        if document["cycles"] is None
        else from_plain(int, document["cycles"], f"{where}: cycles"),
        from_plain(int, document["dram_bytes"], f"{where}: dram_bytes"),
        json.dumps(document["workload"], sort_keys=True, separators=(",", ":")),
        json.dumps(document["schedule_values"], sort_keys=True, separators=(",", ":")),
        from_plain(str, document["checksum"], f"{where}: checksum"),
    )
    if not record.is_sound:
        raise InputError(f"{where}: checksum {record.checksum!r} does not fit its content")
    if _task_key(record.task, record.workload_text) != record.task:
        raise InputError(f"{where}: task {record.task!r} is not the key of its workload")
    if record.schedule_value().digest != record.schedule:
        raise InputError(f"{where}: schedule {record.schedule!r} is not the digest of its values")
    if (
        record.cycles is None or record.cycles <= 0
    ) and record.outcome is MeasurementOutcome.CORRECT:
        raise InputError(f"{where}: cycles {record.cycles}; a correct run takes more than 0")
    return record
