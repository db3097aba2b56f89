"""What is known before a tuning starts: a snapshot of the records, and a model learnt from it.

The snapshot is taken once. Records that others add later may replace a measurement but never train
or steer, so the same seed and snapshot give the same trials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

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
from nest_tune.records.record import Outcome, Record, machine_digest
from search_spaces.task_space import task_space

BASE = Boosting(members=3, trees=120, depth=6, learning_rate=0.1, minimum_weight=3.0)
_FEWEST_NETWORKS = 2
"""One is predicted from the other, and the other from the one."""
MOST_ROWS_PER_TASK = 400
"""Rows of one task that the base model learns from, the best ones."""


@dataclass(frozen=True)
class Knowledge:
    """What records say at the start.

    Attributes:
        snapshot: The records.
        target: Digest of the machine that they are about.
        lowering: Version of the lowering that they are about.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    target: str = ""
    lowering: int = 0

    @property
    def digest(self) -> str:
        """Key of the snapshot."""
        return self.snapshot.digest

    def of(self, task: Task) -> list[tuple[TaskSchedule, Record]]:
        """Records of one task on this target and lowering."""
        wanted = (task.key, self.target, self.lowering)
        found = []
        for record in self.snapshot.records:
            if (record.task, record.target, record.lowering) == wanted:
                try:
                    found.append((record.schedule_value(), record))
                except InputError:
                    continue  # of an older version of this schedule
        return found

    def training_set(self, machine: Machine, without: Iterable[str] = ()) -> TrainingSet:
        """Everything a base model may learn from.

        Args:
            machine: The target; records of others do not count.
            without: Keys of tasks to leave out: each learns its own records separately.
        """
        tasks, known = self._teaching(without), task_features(machine)
        parts = []
        for number, records in enumerate(tasks.values()):
            records.sort(key=lambda record: (record.cycles or 0, record.schedule))
            chosen = records[:MOST_ROWS_PER_TASK]
            try:
                workload = chosen[0].task_value().workload
                schedules = [record.schedule_value() for record in chosen]
            except InputError:
                continue  # of an older version of these types
            pairs = zip(schedules, chosen, strict=True)
            space = task_space(workload, machine)
            # Programs that are spelled out have no parameters to learn from.
            held = [(schedule, record) for schedule, record in pairs if space.holds(schedule)]
            if not held:
                continue
            rows = space.rows_of([schedule for schedule, _ in held])
            features = known.features(workload, rows, machine)
            cycles = [float(record.cycles or 0) for _, record in held]
            parts.append(TrainingSet.of(features, cycles, number))
        return TrainingSet.join(parts)

    def _teaching(self, without: Iterable[str] = ()) -> dict[str, list[Record]]:
        """Records that teach, by task, in the order of their keys: the same records teach the same,
        however they came."""
        left_out = set(without)
        tasks: dict[str, list[Record]] = {}
        for record in self.snapshot.records:
            ours = record.target == self.target and record.lowering == self.lowering
            if ours and record.outcome is Outcome.CORRECT and record.task not in left_out:
                tasks.setdefault(record.task, []).append(record)
        return {name: tasks[name] for name in sorted(tasks)}

    def operators(self) -> tuple[str, ...]:
        """What the tasks of :meth:`training_set` compute, by their numbers there."""
        found = []
        for records in self._teaching().values():
            try:
                found.append(operator_of(records[0].task_value()))
            except InputError:
                found.append("")  # of an older version; it has no rows
        return tuple(found)

    def network_numbers(self, networks: Iterable[Collection[str]]) -> list[list[int]]:
        """Networks by the numbers that their tasks have in :meth:`training_set`.

        Args:
            networks: Keys of tasks.
        """
        numbers = {name: number for number, name in enumerate(self._teaching())}
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
        groups = self.network_numbers(networks[name] for name in sorted(networks))
        if sum(map(bool, groups)) < _FEWEST_NETWORKS:
            return ()
        data, operators = self.training_set(machine), self.operators()
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

    def base_model(self, machine: Machine, seed: int, without: Iterable[str] = ()) -> BoostedModel:
        """A model of what other tasks teach."""
        return BoostedModel.train(self.training_set(machine, without), seed, BASE)


def operator_of(task: Task) -> str:
    """What a task computes."""
    return task.id.rpartition("-")[0]


def knowledge_of(snapshot: Snapshot, machine: Machine) -> Knowledge:
    """The knowledge that a snapshot holds about a machine."""
    version = kind_of_machine(machine).lowering_version
    return Knowledge(snapshot, machine_digest(machine), version)
