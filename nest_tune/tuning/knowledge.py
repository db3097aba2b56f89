"""What is known before a tuning starts: the records of that moment, and a model learnt from them.

Records that others add later may replace a measurement but never train or steer, so the same seed
and records give the same trials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compiler_core.errors import InputError
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule
from cost_models.boosted import BoostedModel, Boosting
from cost_models.evaluation import adds_something, held_out, quality
from cost_models.task_features import task_features
from cost_models.training import TrainingSet
from nest_tune.records.database import Snapshot
from nest_tune.records.record import Record, machine_digest
from nest_tune.records.sources import HeldRecords, RecordSource, fastest
from search_spaces.task_space import task_space

BASE = Boosting(members=3, trees=120, depth=6, learning_rate=0.1, minimum_weight=3.0)
_FEWEST_NETWORKS = 2
"""One is predicted from the other, and the other from the one."""
MOST_ROWS_PER_TASK = 400
"""Rows of one task that the base model learns from, the best ones."""
MOST_ROWS = 48_000
"""Rows of all tasks together: of many tasks fewer rows each."""
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class _Taught:
    """What a task teaches.

    Attributes:
        operator: What it computes.
        rows: Of its records; none where they are of an older version, or spell out programs.
    """

    operator: str
    rows: TrainingSet


class Knowledge:
    """What records say at the start.

    Args:
        source: The records.
        target: Digest of the machine that they are about.
        lowering: Version of the lowering that they are about.
    """

    def __init__(
        self, source: RecordSource | None = None, target: str = "", lowering: int = 0
    ) -> None:
        self.source: RecordSource = source or HeldRecords(Snapshot())
        self.target, self.lowering = target, lowering
        self._learnt: dict[str, _Taught] | None = None

    def of(self, task: Task) -> list[tuple[TaskSchedule, Record]]:
        """Records of one task on this target and lowering."""
        found = []
        for record in self.source.of_task(task.key, self.target, self.lowering):
            try:
                found.append((record.schedule_value(), record))
            except InputError:
                continue  # of an older version of this schedule
        return found

    def training_set(
        self, machine: Machine, without: Iterable[str] = (), more: Sequence[Record] = ()
    ) -> TrainingSet:
        """Everything a base model may learn from.

        Args:
            machine: The target; records of others do not count.
            without: Keys of tasks to leave out: each learns its own records separately.
            more: Records that were made since.
        """
        parts, left_out = dict(self._of_start(machine)), set(without)
        fresh: dict[str, list[Record]] = {}
        for record in more:
            if (record.target, record.lowering) == (self.target, self.lowering):
                fresh.setdefault(record.task, []).append(record)
        for task, records in fresh.items():
            if task in left_out:
                continue
            known = {r.key: r for r in self.source.of_task(task, self.target, self.lowering)}
            known |= {record.key: record for record in records}
            parts.pop(task, None)
            if chosen := fastest(known.values(), MOST_ROWS_PER_TASK):
                parts[task] = _taught(chosen, machine)
        # In the order of their keys: the same records teach the same, however they came.
        kept = [parts[task].rows for task in sorted(parts) if task not in left_out]
        numbered = [
            replace(rows, task=np.full(len(rows), number, np.int64))
            for number, rows in enumerate(kept)
            if len(rows)
        ]
        return TrainingSet.join(numbered)

    def operators(self, machine: Machine) -> tuple[str, ...]:
        """What the tasks of :meth:`training_set` compute, by their numbers there."""
        return tuple(taught.operator for _, taught in sorted(self._of_start(machine).items()))

    def network_numbers(
        self, machine: Machine, networks: Iterable[Collection[str]]
    ) -> list[list[int]]:
        """Networks by the numbers that their tasks have in :meth:`training_set`.

        Args:
            machine: The target.
            networks: Keys of tasks.
        """
        numbers = {name: number for number, name in enumerate(sorted(self._of_start(machine)))}
        return [sorted(numbers[key] for key in tasks if key in numbers) for tasks in networks]

    def transfers(
        self, machine: Machine, networks: Mapping[str, Collection[str]]
    ) -> tuple[str, ...]:
        """Operators of whose schedules a model of other networks' records tells good ones better
        than the walk alone: tried on each network, with models that saw nothing of it. One that a
        single network has is none of them.

        Args:
            machine: The target.
            networks: Keys of the tasks of each network.
        """
        groups = self.network_numbers(machine, (networks[name] for name in sorted(networks)))
        if sum(map(bool, groups)) < _FEWEST_NETWORKS:
            return ()
        data, operators = self.training_set(machine), self.operators(machine)
        predicted, done = held_out(data, groups, lambda part: BoostedModel.train(part, 0, BASE))
        names = np.array(operators)[data.task]
        found = []
        for name in sorted(set(names[done].tolist())):
            having = [group for group in groups if any(operators[n] == name for n in group)]
            chosen = done & (names == name)
            part = data.only(chosen)
            walk, model = quality(part.walk_cycles, part), quality(predicted[chosen], part)
            if len(having) >= _FEWEST_NETWORKS and adds_something(walk, model):
                found.append(name)
        return tuple(found)

    def _of_start(self, machine: Machine) -> dict[str, _Taught]:
        """What each task teaches, found once."""
        if self._learnt is None:
            found: dict[str, _Taught] = {}
            tasks = max(1, self.source.count_tasks(self.target, self.lowering))
            most = min(MOST_ROWS_PER_TASK, max(_FEWEST_ROWS, MOST_ROWS // tasks))

            def take(task: str, records: list[Record]) -> None:
                found[task] = _taught(records, machine)  # the second time it is the same

            self.source.best(self.target, self.lowering, most, take)
            self._learnt = found
        return self._learnt

    def base_model(
        self,
        machine: Machine,
        seed: int,
        without: Iterable[str] = (),
        more: Sequence[Record] = (),
    ) -> BoostedModel:
        """A model of what other tasks teach; arguments as of :meth:`training_set`."""
        return BoostedModel.train(self.training_set(machine, without, more), seed, BASE)


def _taught(records: Sequence[Record], machine: Machine) -> _Taught:
    """What records of one task teach, the fastest first."""
    none = TrainingSet.empty(len(task_features(machine).columns))
    try:
        task = records[0].task_value()
        schedules = [record.schedule_value() for record in records]
    except InputError:
        return _Taught("", none)  # of an older version of these types
    space = task_space(task.workload, machine)
    pairs = zip(schedules, records, strict=True)
    # Programs that are spelled out have no parameters to learn from.
    held = [(schedule, record) for schedule, record in pairs if space.holds(schedule)]
    if not held:
        return _Taught(operator_of(task), none)
    rows = space.rows_of([schedule for schedule, _ in held])
    features = task_features(machine).features(task.workload, rows, machine)
    cycles = [float(record.cycles or 0) for _, record in held]
    return _Taught(operator_of(task), TrainingSet.of(features, cycles))


def operator_of(task: Task) -> str:
    """What a task computes."""
    return task.id.rpartition("-")[0]


def knowledge_of(records: Snapshot | RecordSource, machine: Machine) -> Knowledge:
    """The knowledge that records hold about a machine."""
    version = kind_of_machine(machine).lowering_version
    source = HeldRecords(records) if isinstance(records, Snapshot) else records
    return Knowledge(source, machine_digest(machine), version)
