"""Measuring schedules: in this process or on the workers of a runner, always in order.

Where several drivers measure for one database, each measurement is made by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler_core.errors import NestTuneError
from compiler_core.files.plain import to_plain
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine, unit_kind
from compiler_core.units.unit import Machine, TaskSchedule, TaskWorkload
from nest_tune.records.record import MeasurementOutcome, Record, machine_digest, record_of

if TYPE_CHECKING:
    from nest_tune.records.database import Key
    from nest_tune.records.sharing import SharedRecords
    from nest_tune.runners.runner import Runner, Setup

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Measurement:
    """What came of running one schedule.

    Attributes:
        outcome: How it ended.
        cycles: Its cost, ``None`` where there is none.
        dram_bytes: Bytes that it moved.
    """

    outcome: MeasurementOutcome
    cycles: int | None = None
    dram_bytes: int = 0


def measure(workload: TaskWorkload, schedule: TaskSchedule, machine: Machine) -> Measurement:
    """Lowers and times one schedule; what the lowering refuses is an outcome, not an error."""
    try:
        cost = kind_of_machine(machine).tasks.measure(workload, schedule, machine)
    except NestTuneError:
        return Measurement(MeasurementOutcome.COMPILE)
    return Measurement(MeasurementOutcome.CORRECT, cost.cycles, cost.dram_bytes)


class Measurer:
    """Measures batches.

    Args:
        machine: Where the schedules run.
        jobs: Worker processes; with one, everything happens in this process.
        timeout_s: Time of one measurement on a worker.
        workers: Makes another runner than that of ``jobs`` processes.
        shared: Records of all drivers: what others measure is not measured again, and what is
            measured here is stored there.
        poll: Called while workers are waited for; may raise to end it.
        replay: Whether all measurements have to be in ``shared``.
    """

    def __init__(
        self,
        machine: Machine,
        jobs: int = 1,
        timeout_s: float = TIMEOUT_S,
        *,
        workers: Callable[[Setup], Runner] | None = None,
        shared: SharedRecords | None = None,
        poll: Callable[[], None] = lambda: None,
        replay: bool = False,
    ) -> None:
        self._machine, self._jobs, self._timeout_s = machine, jobs, timeout_s
        self._replay = replay
        self._workers, self._shared, self._poll = workers, shared, poll
        self._runner: Runner | None = None
        self._tickets = 0

    def measure(self, work: Sequence[tuple[TaskWorkload, TaskSchedule]]) -> list[Measurement]:
        """Measures schedules; the results are in their order, whoever finished first.

        Raises:
            NestTuneError: One would have to be measured, and only known ones are wanted.
        """
        if self._shared is None or not work:
            return self._measure(work)
        kind, target = kind_of_machine(self._machine), machine_digest(self._machine)
        version = kind.lowering_version
        keys = [(Task(kind.name, w).key, s.digest, target, version) for w, s in work]
        subjects = dict(zip(keys, work, strict=True))

        def make(wanted: Sequence[Key]) -> list[Record]:
            chosen = [subjects[key] for key in wanted]
            if self._replay:
                workload, schedule = chosen[0]
                raise NestTuneError(
                    f"runner replay: the records lack {len(chosen)} of {len(work)} schedules of "
                    f"task {Task(kind.name, workload).id}, one of them {schedule.digest}",
                    hint="--runner local measures them",
                )
            return [
                record_of(
                    Task(kind.name, workload), schedule, target, version,
                    done.outcome, done.cycles, done.dram_bytes,
                )
                for (workload, schedule), done in zip(chosen, self._measure(chosen), strict=True)
            ]  # fmt: skip

        records = self._shared.obtain(keys, make)
        found = [records[key] for key in keys]
        return [Measurement(r.outcome, r.cycles, r.dram_bytes) for r in found]

    def _measure(self, work: Sequence[tuple[TaskWorkload, TaskSchedule]]) -> list[Measurement]:
        if (self._jobs == 1 and self._workers is None) or len(work) < 2:
            return [measure(workload, schedule, self._machine) for workload, schedule in work]
        return self._on_workers(work)

    def _on_workers(self, work: Sequence[tuple[TaskWorkload, TaskSchedule]]) -> list[Measurement]:
        from nest_tune.runners.runner import ATTEMPTS, Ending, Work

        runner = self._started()
        calls: dict[int, tuple[int, int]] = {}

        def submit(index: int, attempt: int) -> None:
            workload, schedule = work[index]
            payload = {"workload": to_plain(workload), "schedule": to_plain(schedule)}
            call = "nest_tune.tuning.measure:serve_measurement"
            calls[self._tickets] = (index, attempt)
            runner.submit(Work(self._tickets, call, payload, self._timeout_s))
            self._tickets += 1

        for index in range(len(work)):
            submit(index, 1)
        results: dict[int, Measurement] = {}
        while len(results) < len(work):
            for answer in runner.wait(0.5):
                index, attempt = calls.pop(answer.ticket)
                if answer.ending is Ending.LOST and attempt < ATTEMPTS:
                    submit(index, attempt + 1)
                else:
                    results[index] = _read(answer)
            self._poll()
            if self._shared is not None:
                self._shared.renew()
        return [results[index] for index in range(len(work))]

    def _started(self) -> Runner:
        from nest_tune.runners.runner import DEFAULT_RUNNER, RunnerOptions, Setup, make_runner

        if self._runner is None:
            plain = {"kind": self._machine.kind, "machine": to_plain(self._machine)}
            setup = Setup("nest_tune.tuning.measure:serve_machine", plain)
            if self._workers is not None:
                self._runner = self._workers(setup)
            else:
                self._runner = make_runner(DEFAULT_RUNNER, setup, RunnerOptions(self._jobs))
        return self._runner

    def close(self) -> None:
        """Ends the workers."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(answer: Any) -> Measurement:
    from nest_tune.runners.runner import Ending

    if answer.ending is Ending.DONE:
        outcome, cycles, dram_bytes = answer.value
        return Measurement(MeasurementOutcome(outcome), cycles, dram_bytes)
    timed_out = answer.ending is Ending.TIMEOUT
    return Measurement(MeasurementOutcome.TIMEOUT if timed_out else MeasurementOutcome.RUNTIME)


def serve_machine(plain: Any) -> Machine:
    """State of a worker: the machine that everything runs on."""
    machine: Machine = unit_kind(plain["kind"]).documents.machine(plain["machine"], "machine")
    return machine


def serve_measurement(machine: Machine, payload: Any) -> list[Any]:
    """One measurement on a worker."""
    read = kind_of_machine(machine).documents
    workload = read.workload(payload["workload"], "workload")
    done = measure(workload, read.schedule(payload["schedule"], "schedule"), machine)
    return [done.outcome.value, done.cycles, done.dram_bytes]
