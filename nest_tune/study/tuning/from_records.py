"""Schedules from the tuning of tasks, with what the measurement database knew at the start.

A study sees the records that were there when it was started and those that it made itself, no
others, so that a resume goes on as if there had been no pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compiler_core.files.plain import to_plain
from compiler_core.targets.target import Cpu, Target, Unit
from compiler_core.tensor.task import Task, task_key
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule, TaskWorkload
from cost_models.boosted import BoostedModel
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import Record, machine_digest
from nest_tune.records.sharing import SharedRecords
from nest_tune.samplers.registry import SAMPLERS
from nest_tune.study.tuning.seam import CountedTask, TunedTask
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.task_search import TaskResult, TaskSearch
from nest_tune.tuning.tune import tune_tasks

PER_TASK = 64
"""Known and measured schedules per new task; they go where they gain most."""


class RecordTuner:
    """Tunes tasks with :func:`nest_tune.tuning.tune.tune_tasks`.

    Args:
        target: Where they run.
        unit: Of it.
        database: Where measurements go to.
        start: What the database knew when the study was started.
        sampler: Name.
        seed: Of the study.
        own: Records that the study has made so far, one list per task, from :func:`own_records`.
        progress: Told of a search after each of its batches.
        measurer: Stores what it measures in the database; by default this process measures.
    """

    def __init__(
        self,
        target: Target,
        unit: Unit,
        database: RecordDatabase,
        start: Snapshot,
        sampler: str,
        seed: int,
        own: Sequence[Sequence[Record]],
        progress: Callable[[TaskSearch], None],
        measurer: Measurer | None = None,
    ) -> None:
        self._target, self._machine, self._start = target, unit.machine, start
        self._measurer = measurer or Measurer(self._machine, shared=SharedRecords(database))
        self._sampler, self._seed, self._progress = sampler, seed, progress
        self._own = [list(records) for records in own]
        self._start_knowledge = knowledge_of(start, self._machine)
        self._base: tuple[tuple[int, frozenset[str]], BoostedModel] | None = None

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        made: dict[str, list[Record]] = {c.task.key: [] for c in tasks}

        def keep(batch: list[Record]) -> None:
            for record in batch:
                made[record.task].append(record)

        found = tune_tasks(
            {counted.task: counted.count for counted in tasks},
            self._machine,
            sampler=self._sampler,
            trials=PER_TASK * len(tasks),
            seed=self._seed,
            knowledge=self._start_knowledge,
            base=self._base_model(frozenset(made)) if SAMPLERS.get(self._sampler).learns else None,
            keep=keep,
            measurer=self._measurer,
            progress=self._progress,
        )
        first = len(self._own)
        self._own += made.values()
        tuned = {}
        for number, (task, result) in enumerate(found.items()):
            records = made[task.key]
            best, cycles = self._with_layout(task, result, records)
            tuned[task.id] = TunedTask(
                to_plain(best),
                cycles,
                result.default_cycles,
                result.bound_cycles,
                result.measurements,
                tuple(record.schedule for record in records),
                first + number,
            )
        return tuned

    def _with_layout(
        self, task: Task, result: TaskResult, records: Sequence[Record]
    ) -> tuple[TaskSchedule, int]:
        """The measured schedule that is best for the whole system, and its cycles: one that saves
        cycles of the unit may have the CPU lay out twice as much."""
        best = result.best, result.best_cycles
        if not kind_of_machine(self._machine).layers.layout_varies(task.workload):
            return best
        known = [
            *self._start_knowledge.of(task),
            *((record.schedule_value(), record) for record in records),
        ]
        measured = [best, *((s, r.cycles) for s, r in known if r.cycles is not None)]
        cpu, machine = self._target.cpu, self._machine
        return min(
            measured, key=lambda item: item[1] + layout_cycles(task.workload, item[0], machine, cpu)
        )

    def close(self) -> None:
        """Ends the workers that measure."""
        self._measurer.close()

    def _base_model(self, tuned: frozenset[str]) -> BoostedModel:
        """What all tasks but ``tuned`` teach. It is learnt anew when the study has half as many
        tasks again; when that is depends on nothing but their number."""
        count = lessons(len(self._own))
        before = {record.task for record in self._start.records}
        key = (count, tuned & before)
        if self._base is None or self._base[0] != key:
            own = [record for task in self._own[:count] for record in task]
            known = {record.key: record for record in (*self._start.records, *own)}
            knowledge = knowledge_of(Snapshot(tuple(known.values())), self._machine)
            self._base = (key, knowledge.base_model(self._machine, self._seed, tuned))
        return self._base[1]


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
    snapshot: Snapshot, machine: Machine, tuned: Mapping[str, TunedTask]
) -> tuple[tuple[Record, ...], ...]:
    """Records that a study made, out of all there are now, task by task in the order of tuning."""
    target = machine_digest(machine)
    by_key = {(r.task, r.schedule): r for r in snapshot.records if r.target == target}
    found = []
    for name in sorted(tuned, key=lambda name: tuned[name].order):
        key = task_key(name)
        wanted = tuned[name].records
        found.append(tuple(by_key[key, s] for s in wanted if (key, s) in by_key))
    return tuple(found)
