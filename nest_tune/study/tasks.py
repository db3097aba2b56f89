"""Schedules from the tuning of tasks, with what the measurement database knew at the start.

A study sees the records that were there when it was started and those that it made itself, no
others, so that a resume goes on as if there had been no pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compiler_core.plain import to_plain
from compiler_core.targets.vta.hardware import VtaCore
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import Record, core_digest
from nest_tune.study.inner import CountedTask, TunedTask
from nest_tune.tuning.knowledge import knowledge_of
from nest_tune.tuning.tune import tune_tasks

PER_TASK = 64
"""Known and measured schedules per new task; they go where they gain most."""


class RecordTuner:
    """Tunes tasks with :func:`nest_tune.tuning.tune.tune_tasks`.

    Args:
        core: Where they run.
        database: Where measurements go to.
        start: What the database knew when the study was started.
        sampler: Name.
        seed: Of the study.
        own: Keys of the records that the study has made so far, from :class:`TunedTask`.
        poll: Called after each batch of measurements.
    """

    def __init__(
        self,
        core: VtaCore,
        database: RecordDatabase,
        start: Snapshot,
        sampler: str,
        seed: int,
        own: Sequence[Record],
        poll: Callable[[], None],
    ) -> None:
        self._core, self._database, self._start = core, database, start
        self._sampler, self._seed, self._poll = sampler, seed, poll
        self._own = list(own)

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        made: list[Record] = []

        def keep(batch: list[Record]) -> None:
            made.extend(batch)
            self._database.add(batch)

        known = {record.key: record for record in (*self._start.records, *self._own)}
        found = tune_tasks(
            {counted.task: counted.count for counted in tasks},
            self._core,
            sampler=self._sampler,
            trials=PER_TASK * len(tasks),
            seed=self._seed,
            knowledge=knowledge_of(Snapshot(tuple(known.values())), self._core),
            keep=keep,
            progress=lambda _search: self._poll(),
        )
        self._own += made
        return {
            task.id: TunedTask(
                to_plain(result.best),
                result.best_cycles,
                result.default_cycles,
                result.bound_cycles,
                result.measurements,
                tuple(r.schedule for r in made if r.task == task.workload.digest),
            )
            for task, result in found.items()
        }


def own_records(
    snapshot: Snapshot, core: VtaCore, tuned: Mapping[str, TunedTask]
) -> tuple[Record, ...]:
    """Records that a study made, out of all there are now, in the order in which it made them."""
    target = core_digest(core)
    by_key = {(r.task, r.schedule): r for r in snapshot.records if r.target == target}
    found = []
    for name, task in tuned.items():
        digest = name.rpartition("-")[2]
        found += [by_key[digest, s] for s in task.records if (digest, s) in by_key]
    return tuple(found)
