"""Measurements of schedules on a study's workers, each made once whoever wants it.

What is asked for together is looked up in the records, claimed where nobody has it, and measured in
calls of a few schedules among all other calls of the study. What another driver measures at this
moment is waited for beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compiler_core.errors import NestTuneError
from compiler_core.files.plain import to_plain
from compiler_core.targets.unit_tasks import HasUnits
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import TaskWorkload
from nest_tune.records.claims import Claims
from nest_tune.records.database import Key, RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record, machine_digest, record_of
from nest_tune.records.sharing import BELIEVED, claim_of
from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.tuning.seam import Wish
from nest_tune.tuning.measure import TIMEOUT_S, Measurement

Then = Callable[[list[Measurement]], None]

PER_CALL = 8
"""Schedules that one call measures."""

_FUNCTION = "nest_tune.study.execution.worker:measure_schedules"
_LOOK_S = 0.1


@dataclass
class _Job:
    """Schedules that are wanted together."""

    keys: list[Key]
    pairs: dict[Key, Wish]
    then: Then
    have: dict[Key, Record] = field(default_factory=dict)
    asked: set[Key] = field(default_factory=set)

    @property
    def missing(self) -> list[Key]:
        """What nobody of ours measures yet."""
        return [key for key in self.pairs if key not in self.have and key not in self.asked]

    @property
    def is_done(self) -> bool:
        return len(self.have) == len(self.pairs)

    @property
    def found(self) -> list[Measurement]:
        records = [self.have[key] for key in self.keys]
        return [Measurement(r.outcome, r.cycles, r.dram_bytes) for r in records]


class Measurements:
    """Measures what tunings want.

    Args:
        calls: Of the study.
        target: Whose units schedules are for.
        database: Where records are looked for and go.
        replay: Whether all of them have to be there.
    """

    def __init__(
        self, calls: Calls, target: HasUnits, database: RecordDatabase, *, replay: bool = False
    ) -> None:
        self._calls, self._target, self._database = calls, target, database
        self._replay = replay
        self._machines: dict[str, tuple[str, int]] = {}
        self._claims = Claims(database.connection)
        self._elsewhere: list[_Job] = []
        self._next_look = 0.0

    def start(self, wanted: list[Wish], then: Then) -> list[Measurement] | None:
        """Asks for measurements, in the order of ``wanted``: returned where all are known, else
        given to ``then``.

        Raises:
            NestTuneError: One would have to be measured, and only known ones are wanted.
        """
        keys: list[Key] = [
            (self._task(unit, w).key, s.digest, *self._machine(unit)) for unit, w, s in wanted
        ]
        job = _Job(keys, dict(zip(keys, wanted, strict=True)), then)
        self._advance(job)
        return job.found if job.is_done else None

    def look(self) -> None:
        """Looks whether other drivers have measured what is waited for; to be called often."""
        self._claims.renew()
        if self._elsewhere and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_S
            waiting, self._elsewhere = self._elsewhere, []
            for job in waiting:
                self._advance(job)
                if job.is_done:
                    job.then(job.found)

    @property
    def waiting(self) -> bool:
        """Whether other drivers are waited for."""
        return bool(self._elsewhere)

    def close(self) -> None:
        """Lets other drivers measure what this one has begun."""
        self._claims.drop()

    def _task(self, unit: str, workload: TaskWorkload) -> Task:
        return Task(self._target.unit(unit).kind, workload)

    def _machine(self, unit: str) -> tuple[str, int]:
        """Digest of a unit's machine, and version of its lowering."""
        if unit not in self._machines:
            machine = self._target.unit(unit).machine
            version = kind_of_machine(machine).lowering_version
            self._machines[unit] = machine_digest(machine), version
        return self._machines[unit]

    def _advance(self, job: _Job) -> None:
        self._find(job, job.missing)
        missing = job.missing
        ours = self._claims.take(map(claim_of, missing)) if missing else set()
        mine = [key for key in missing if claim_of(key) in ours]
        self._find(job, mine)  # made between the look and the claim
        self._claims.drop(claim_of(key) for key in mine if key in job.have)
        fresh = [key for key in mine if key not in job.have]
        if fresh and self._replay:
            unit, workload, schedule = job.pairs[fresh[0]]
            raise NestTuneError(
                f"runner replay: the records lack {len(fresh)} of {len(job.pairs)} schedules of "
                f"task {self._task(unit, workload).id}, one of them {schedule.digest}",
                hint="--runner local measures them",
            )
        job.asked.update(fresh)
        for first in range(0, len(fresh), PER_CALL):
            self._call(job, fresh[first : first + PER_CALL])
        if job.missing:
            self._elsewhere.append(job)

    def _find(self, job: _Job, keys: Sequence[Key]) -> None:
        for key, record in self._database.find(keys).items() if keys else ():
            if record.outcome in BELIEVED:
                job.have[key] = record

    def _call(self, job: _Job, keys: Sequence[Key]) -> None:
        def answered(answer: Answer) -> None:
            if answer.ending is not Ending.DONE and len(keys) > 1:
                for key in keys:  # one of them is at fault: each for itself
                    self._call(job, [key])
                return
            self._take(job, keys, _measured(answer, len(keys)))

        payload = [
            {"on": unit, "workload": to_plain(w), "schedule": to_plain(s)}
            for unit, w, s in (job.pairs[key] for key in keys)
        ]
        timeout_s = TIMEOUT_S * len(keys)
        self._calls.start(_FUNCTION, payload, answered, kept=False, timeout_s=timeout_s)

    def _take(self, job: _Job, keys: Sequence[Key], done: Sequence[Measurement]) -> None:
        records = [
            record_of(
                self._task(*job.pairs[key][:2]),
                job.pairs[key][2],
                *key[2:],
                measured.outcome,
                measured.cycles,
                measured.dram_bytes,
            )
            for key, measured in zip(keys, done, strict=True)
        ]
        self._database.add(records)
        self._claims.drop(map(claim_of, keys))
        job.have |= {record.key: record for record in records}
        if job.is_done:
            job.then(job.found)


def _measured(answer: Answer, count: int) -> list[Measurement]:
    if answer.ending is Ending.DONE:
        return [
            Measurement(MeasurementOutcome(o), cycles, size) for o, cycles, size in answer.value
        ]
    timed_out = answer.ending is Ending.TIMEOUT
    return [
        Measurement(MeasurementOutcome.TIMEOUT if timed_out else MeasurementOutcome.RUNTIME)
    ] * count
