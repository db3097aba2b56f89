"""Schedules from the tuning of tasks, with what the measurement database knew at the start.

A study sees the records that were there when it was started and those that it made itself, no
others, so that a resume goes on as if there had been no pause.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from compiler_core.files.plain import to_plain
from compiler_core.targets.target import Cpu, Unit
from compiler_core.tensor.task import Task, task_key
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule, TaskWorkload
from cost_models.boosted import BoostedModel
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import Record, machine_digest
from nest_tune.records.sources import RecordSource
from nest_tune.samplers.registry import SAMPLERS
from nest_tune.study.tuning.beyond import programs_beyond
from nest_tune.study.tuning.seam import CountedTask, TunedTask, Tuning, on_unit
from nest_tune.tuning.knowledge import knowledge_of, operator_of
from nest_tune.tuning.task_search import TaskResult, TaskSearch
from nest_tune.tuning.tune import tuning

PER_TASK = 64
"""Known and measured schedules per new task; they go where they gain most."""


class RecordTuner:
    """Tunes tasks with :func:`nest_tune.tuning.tune.tuning`.

    Args:
        cpu: What lays out their inputs.
        unit: Where they run.
        start: What the database knew when the study was started.
        sampler: Name.
        seed: Of the study.
        own: Records that the study has made so far, by task, from :func:`own_records`.
        helped: Operators whose tasks a model of other tasks helps, see
            :meth:`~nest_tune.tuning.knowledge.Knowledge.transfers`; without any none is trained.
            ``None`` for all.
        per_task: Instead of :data:`PER_TASK`.
        progress: Told of a search after each of its batches.
    """

    def __init__(
        self,
        cpu: Cpu | None,
        unit: Unit,
        start: RecordSource,
        sampler: str,
        seed: int,
        own: Mapping[str, Sequence[Record]],
        progress: Callable[[TaskSearch], None],
        *,
        helped: Collection[str] | None = (),
        per_task: int | None = None,
    ) -> None:
        self._cpu, self._unit = cpu, unit
        self._machine = unit.machine
        self._sampler, self._seed, self._progress = sampler, seed, progress
        self._per_task = per_task
        self._helped, self._learns = helped, SAMPLERS.get(sampler).learns
        self._own = {name: tuple(records) for name, records in own.items()}
        self._start_knowledge = knowledge_of(start, self._machine)
        self._base: tuple[tuple[tuple[str, ...], frozenset[str]], BoostedModel] | None = None

    def limit(self, tasks: int) -> int:
        """See :class:`nest_tune.study.tuning.seam.Tuner`."""
        return (self._per_task or PER_TASK) * tasks

    def tuning(self, tasks: Sequence[CountedTask], taught: Sequence[str]) -> Tuning:
        made: dict[str, list[Record]] = {c.task.key: [] for c in tasks}

        def keep(batch: list[Record]) -> None:
            for record in batch:
                made[record.task].append(record)

        steps = tuning(
            {counted.task: counted.count for counted in tasks},
            self._machine,
            sampler=self._sampler,
            trials=self.limit(len(tasks)),
            seed=self._seed,
            knowledge=self._start_knowledge,
            base=self._base_model(frozenset(made), taught) if self._trains(tasks) else None,
            helped=self._helped,
            keep=keep,
            progress=self._progress,
        )
        found = yield from on_unit(steps, self._unit.name)
        beyond = yield from on_unit(
            programs_beyond(list(found), self._machine, self._seed, self._start_knowledge),
            self._unit.name,
        )
        tuned = {}
        for number, (task, result) in enumerate(found.items()):
            records = self._own[task.id] = tuple(made[task.key])
            best, cycles = self._with_layout(task, result, records)
            measurements, program = result.measurements, beyond.get(task)
            if program is not None:
                measurements += program.programs
                if program.cycles < cycles:
                    best, cycles = program.best, program.cycles
            tuned[task.id] = TunedTask(
                to_plain(best),
                cycles,
                result.default_cycles,
                result.bound_cycles,
                measurements,
                tuple(record.schedule for record in records),
                number,
            )
        return tuned

    def _trains(self, tasks: Sequence[CountedTask]) -> bool:
        """Whether a model of other tasks helps any of these."""
        if not self._learns or self._helped is None:
            return self._learns
        return any(operator_of(counted.task) in self._helped for counted in tasks)

    def _with_layout(
        self, task: Task, result: TaskResult, records: Sequence[Record]
    ) -> tuple[TaskSchedule, int]:
        """The measured schedule that is best for the whole system, and its cycles: one that saves
        cycles of the unit may have the CPU lay out twice as much."""
        best = result.best, result.best_cycles
        kind, cpu = kind_of_machine(self._machine), self._cpu
        if cpu is None or not kind.layers.layout_varies(task.workload):
            return best
        known = [
            *self._start_knowledge.of(task),
            *((record.schedule_value(), record) for record in records),
        ]
        measured = [best, *((s, r.cycles) for s, r in known if r.cycles is not None)]
        machine = self._machine
        return min(
            measured, key=lambda item: item[1] + layout_cycles(task.workload, item[0], machine, cpu)
        )

    def _base_model(self, tuned: frozenset[str], taught: Sequence[str]) -> BoostedModel:
        """What all tasks but ``tuned`` teach. It is learnt anew when the study has half as many
        tasks again; when that is depends on nothing but their number."""
        names = tuple(taught[: lessons(len(taught))])
        key = (names, frozenset(task for task in tuned if self._knows(task)))
        if self._base is None or self._base[0] != key:
            own = [record for name in names for record in self._own[name]]
            base = self._start_knowledge.base_model(self._machine, self._seed, tuned, own)
            self._base = (key, base)
        return self._base[1]

    def _knows(self, task: str) -> bool:
        """Whether records of a task were there at the start."""
        start = self._start_knowledge
        return bool(start.source.of_task(task, start.target, start.lowering))


def layout_cycles(
    workload: TaskWorkload, schedule: TaskSchedule, machine: Machine, cpu: Cpu
) -> float:
    """What the CPU takes to write a workload's input as the schedule wants it, in cycles of the
    machine."""
    size = kind_of_machine(machine).layers.input_bytes(workload, schedule, machine)
    seconds = size / (cpu.copy_bytes_per_cycle * cpu.clock_hz)
    return float(seconds * machine.clock_hz)


def lessons(tasks: int) -> int:
    """How many of a study's first ``tasks`` tasks have trained its base model."""
    count = 0
    while (following := max(count + 1, count * 3 // 2)) <= tasks:
        count = following
    return count


def own_records(
    database: RecordDatabase, machine: Machine, tuned: Mapping[str, TunedTask]
) -> dict[str, tuple[Record, ...]]:
    """Records that a study made, as they are now, by task."""
    target, version = machine_digest(machine), kind_of_machine(machine).lowering_version
    found = {}
    for name, task in tuned.items():
        keys = [(task_key(name), schedule, target, version) for schedule in task.records]
        known = database.find(keys)
        found[name] = tuple(known[key] for key in keys if key in known)
    return found
