"""What is known before a tuning starts: a snapshot of the records, and a model learnt from it.

The snapshot is taken once. Records that others add later may replace a measurement but never train
or steer, so the same seed and snapshot give the same trials.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from compiler_core.errors import InputError
from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.lowering_version import LOWERING_VERSION
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.schedule.schedule_rows import to_rows
from cost_models.boosted import BoostedModel, Boosting
from cost_models.training import TrainingSet
from cost_models.vta.tiling import tiling_features
from nest_tune.records.database import Snapshot
from nest_tune.records.record import Outcome, Record, core_digest

BASE = Boosting(members=3, trees=120, depth=6, learning_rate=0.1, minimum_weight=3.0)
MOST_ROWS_PER_TASK = 400
"""Rows of one task that the base model learns from, the best ones."""


@dataclass(frozen=True)
class Knowledge:
    """What records say at the start.

    Attributes:
        snapshot: The records.
        target: Digest of the core that they are about.
        lowering: Version of the lowering that they are about.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    target: str = ""
    lowering: int = LOWERING_VERSION

    @property
    def digest(self) -> str:
        """Key of the snapshot."""
        return self.snapshot.digest

    def of(self, workload: Workload) -> list[tuple[Schedule, Record]]:
        """Records of one task on this target and lowering."""
        wanted = (workload.digest, self.target, self.lowering)
        found = []
        for record in self.snapshot.records:
            if (record.task, record.target, record.lowering) == wanted:
                try:
                    found.append((record.schedule_value(), record))
                except InputError:
                    continue  # of an older version of this schedule
        return found

    def training_set(self, core: VtaCore, without: Iterable[str] = ()) -> TrainingSet:
        """Everything a base model may learn from.

        Args:
            core: The target; records of others do not count.
            without: Digests of tasks to leave out: each learns its own records separately.
        """
        left_out = set(without)
        tasks: dict[str, list[Record]] = {}
        for record in self.snapshot.records:
            ours = record.target == self.target and record.lowering == self.lowering
            if ours and record.outcome is Outcome.CORRECT and record.task not in left_out:
                tasks.setdefault(record.task, []).append(record)
        parts = []
        # In the order of their digests: the same records teach the same, however they came.
        for number, name in enumerate(sorted(tasks)):
            records = tasks[name]
            records.sort(key=lambda record: (record.cycles or 0, record.schedule))
            chosen = records[:MOST_ROWS_PER_TASK]
            try:
                workload = chosen[0].workload()
                schedules = [record.schedule_value() for record in chosen]
            except InputError:
                continue  # of an older version of these types
            pairs = zip(schedules, chosen, strict=True)
            # Programs that are spelled out have no tiles to learn from.
            tiled = [(s, r) for s, r in pairs if not isinstance(s, ResidentSchedule)]
            if not tiled:
                continue
            features = tiling_features(workload, to_rows([schedule for schedule, _ in tiled]), core)
            cycles = [float(record.cycles or 0) for _, record in tiled]
            parts.append(TrainingSet.of(features, cycles, number))
        return TrainingSet.join(parts)

    def base_model(self, core: VtaCore, seed: int, without: Iterable[str] = ()) -> BoostedModel:
        """A model of what other tasks teach."""
        return BoostedModel.train(self.training_set(core, without), seed, BASE)


def knowledge_of(snapshot: Snapshot, core: VtaCore) -> Knowledge:
    """The knowledge that a snapshot holds about a core."""
    return Knowledge(snapshot, core_digest(core))
