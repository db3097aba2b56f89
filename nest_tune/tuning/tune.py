"""Tuning of one task, or of many under one budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine
from compiler_core.units.violation import Violation
from cost_models.boosted import BoostedModel
from nest_tune.records.database import RecordDatabase, Snapshot
from nest_tune.records.record import Record
from nest_tune.records.sources import StoredRecords
from nest_tune.samplers.registry import DEFAULT_SAMPLER, PROVING_SAMPLER, SAMPLERS
from nest_tune.tuning.knowledge import Knowledge, knowledge_of, operator_of
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.program_search import FoundProgram, program_search
from nest_tune.tuning.steps import Steps, measured_by, side_by_side
from nest_tune.tuning.task_search import BATCH, TaskResult, TaskSearch

Progress = Callable[[TaskSearch], None]
"""Called after every batch."""

GUIDED_BEFORE_PROOF = 128
"""Measurements of the guided sampler before an exhaustive search: the better the best, the fewer
points are left to be measured."""

ABREAST = 8
"""So many tasks are tuned side by side at most."""

SHARE = 0.25
"""What a task has to be expected to gain beside the first, to be tuned beside it."""

TRIED = 64
"""Measurements of a task after which an expected gain that is too small ends it."""

SMALLEST_GAIN = 1e-4
"""Share of a task's cycles below which an expected gain is none."""


@dataclass(frozen=True)
class MeasurementBudget:
    """What a tuning may spend.

    Attributes:
        trials: Known and measured schedules per task.
        timeout_s: Wall time; the search ends with the batch that passes it.
    """

    trials: int = 128
    timeout_s: float | None = None


def tune_task(
    task: Task,
    machine: Machine,
    *,
    sampler: str = DEFAULT_SAMPLER,
    budget: MeasurementBudget | None = None,
    seed: int = 0,
    records: RecordDatabase | None = None,
    jobs: int = 1,
    exhaustive: bool = False,
    anneal: int = 0,
    base: BoostedModel | None = None,
    networks: Mapping[str, Collection[str]] | None = None,
    progress: Progress | None = None,
) -> TaskResult:
    """Finds the best schedule of one task.

    Args:
        task: What to tune.
        machine: Where it runs.
        sampler: Name, see :mod:`nest_tune.samplers.registry`.
        budget: Limits; those of trials do not bind an exhaustive search.
        seed: Of everything random.
        records: Where measurements come from and go to.
        jobs: Worker processes.
        exhaustive: Go on until no schedule that is left can be better.
        anneal: Programs to time afterwards beyond the space, where the kind of unit has some.
        base: What the guided sampler knows of other tasks; nothing without.
        networks: Keys of the tasks of networks whose records teach such a base, where they help
            tasks of this operator; see :meth:`Knowledge.transfers`.
        progress: Called after every batch.

    Raises:
        InfeasibleError: The space of the task is empty.
        InputError: The sampler is unknown.
    """
    budget = budget or MeasurementBudget()
    end = None if budget.timeout_s is None else time.monotonic() + budget.timeout_s
    knowledge = _knowledge(records, machine)
    if base is None and SAMPLERS.get(sampler).learns:
        base = taught_by(networks or {}, knowledge, task, machine, seed)
    search = TaskSearch(task, machine, sampler, seed, knowledge, base, _keep(records))
    trials = max(budget.trials, GUIDED_BEFORE_PROOF) if exhaustive else budget.trials
    with Measurer(machine, jobs) as measurer:
        _search(search, measurer, trials, end, progress)
        if exhaustive and not search.result().proven and not _passed(end):
            if not SAMPLERS.get(sampler).exhausts:
                search.switch_sampler(PROVING_SAMPLER)
            _search(search, measurer, None, end, progress)
    if anneal and not program_obstacles(task, machine):
        _anneal(search, anneal, seed, end, progress)
    return search.result()


def taught_by(
    networks: Mapping[str, Collection[str]],
    knowledge: Knowledge,
    task: Task,
    machine: Machine,
    seed: int,
) -> BoostedModel | None:
    """A model of the records of networks that have not this task; ``None`` where a test on them
    does not say that it helps.

    Args:
        networks: Keys of their tasks.
        knowledge: Records.
        task: What is to be tuned.
        machine: Where it runs.
        seed: Of the model.
    """
    others = {name: keys for name, keys in networks.items() if task.key not in keys}
    if operator_of(task) not in knowledge.transfers(machine, others):
        return None
    return knowledge.base_model(machine, seed, [task.key])


def program_obstacles(task: Task, machine: Machine) -> tuple[Violation, ...]:
    """Why a task has no programs beyond its space; empty where it has some."""
    found = program_search(machine)
    if found is not None:
        return found.obstacles(task.workload, machine)
    remedy = f"units of kind {machine.kind} have no programs beyond their schedules"
    return (Violation("programs", 1, 0, "programs", remedy),)


def _anneal(
    search: TaskSearch, programs: int, seed: int, end: float | None, progress: Progress | None
) -> None:
    programs_of = program_search(search.machine)
    assert programs_of is not None

    def take(found: FoundProgram) -> None:
        search.take_program(found.best, found.measured, found.programs)
        if progress is not None:
            progress(search)

    take(
        programs_of.search(
            search.task.workload,
            search.machine,
            programs=programs,
            seed=seed,
            known=search.programs[-1:],
            end=end,
            progress=take,
        )
    )


def _search(
    search: TaskSearch,
    measurer: Measurer,
    trials: int | None,
    end: float | None,
    progress: Progress | None,
) -> None:
    while not search.finished or not search.default_cycles:
        left = BATCH if trials is None else trials - search.spent
        if search.default_cycles and (left <= 0 or _passed(end)):
            return
        if trials is not None:
            search.finish_within(left)
        search.step(measurer, max(1, left))
        if progress is not None:
            progress(search)


def tune_tasks(
    tasks: Mapping[Task, int],
    machine: Machine,
    *,
    sampler: str = DEFAULT_SAMPLER,
    trials: int,
    timeout_s: float | None = None,
    seed: int = 0,
    knowledge: Knowledge | None = None,
    base: BoostedModel | None = None,
    keep: Callable[[list[Record]], None] | None = None,
    jobs: int = 1,
    measurer: Measurer | None = None,
    progress: Progress | None = None,
) -> dict[Task, TaskResult]:
    """Tunes all tasks of a model, measuring where the expected gain end to end is largest.

    Args:
        tasks: How often each task occurs.
        machine: Where they run.
        sampler: As for :func:`tune_task`.
        trials: Known and measured schedules, all tasks together; each task gets a first batch
            whatever the budget.
        timeout_s: Wall time; the search ends with the batch that passes it.
        seed: Of everything random.
        knowledge: Records at the start.
        base: What the guided sampler knows of other tasks; nothing without.
        keep: Takes the records of each batch.
        jobs: Worker processes.
        measurer: What measures instead; it stays open.
        progress: Called after every batch.

    Raises:
        InfeasibleError: The space of a task is empty.
    """
    steps = tuning(
        tasks,
        machine,
        sampler=sampler,
        trials=trials,
        timeout_s=timeout_s,
        seed=seed,
        knowledge=knowledge,
        base=base,
        keep=keep,
        progress=progress,
    )
    with nullcontext(measurer) if measurer is not None else Measurer(machine, jobs) as measurer:
        return measured_by(steps, measurer.measure)


def tuning(
    tasks: Mapping[Task, int],
    machine: Machine,
    *,
    sampler: str,
    trials: int,
    timeout_s: float | None = None,
    seed: int = 0,
    knowledge: Knowledge | None = None,
    base: BoostedModel | None = None,
    helped: Collection[str] | None = None,
    keep: Callable[[list[Record]], None] | None = None,
    progress: Progress | None = None,
) -> Steps[dict[Task, TaskResult]]:
    """As :func:`tune_tasks`, with measurements from whoever drives it; ``base`` is for tasks of the
    operators ``helped`` alone, where these are given.

    Up to :data:`ABREAST` tasks are measured side by side, however many workers there are: those
    that are expected to gain at least :data:`SHARE` of what the first of them is.
    """
    knowledge = knowledge or knowledge_of(Snapshot(), machine)
    kind = kind_of_machine(machine)
    end = None if timeout_s is None else time.monotonic() + timeout_s

    def base_of(task: Task) -> BoostedModel | None:
        return base if helped is None or operator_of(task) in helped else None

    searches = {
        task: TaskSearch(task, machine, sampler, seed, knowledge, base_of(task), keep)
        for task in tasks
    }

    def together(chosen: Sequence[TaskSearch], most: int = BATCH) -> Steps[None]:
        yield from side_by_side([search.stepping(most) for search in chosen])
        for search in chosen:
            _report(progress, search)

    yield from together([search for search in searches.values() if search.spent < BATCH])
    while not _passed(end):
        left = trials - sum(search.spent for search in searches.values())
        gains = {task: tasks[task] * _gain(search) for task, search in searches.items()}
        ranked = sorted(gains, key=lambda task: -gains[task])[: min(ABREAST, -(-left // BATCH))]
        chosen = [t for t in ranked if gains[t] > 0 and gains[t] >= SHARE * gains[ranked[0]]]
        if left <= 0 or not chosen:
            break
        for task in chosen:
            # Where a layout varies, more than the cycles of the unit decides.
            if not kind.has("layers") or not kind.layers.layout_varies(task.workload):
                searches[task].finish_within(left // len(chosen))
        yield from together([searches[task] for task in chosen])
    yield from together([s for s in searches.values() if not s.default_cycles], 1)
    return {task: search.result() for task, search in searches.items()}


def _gain(search: TaskSearch) -> float:
    """Cycles per occurrence that another batch is expected to save; never more than the bound
    allows, less the longer nothing was found, and nothing where nothing is left to measure."""
    if search.finished:
        return 0.0
    gain = min(search.expected_gain(), search.best_cycles - search.bound_cycles)
    if gain < SMALLEST_GAIN * search.best_cycles:
        return 0.0 if search.spent >= TRIED else gain + 1e-9
    return gain / (search.spent / BATCH)


def _report(progress: Progress | None, search: TaskSearch) -> None:
    if progress is not None:
        progress(search)


def _knowledge(records: RecordDatabase | None, machine: Machine) -> Knowledge:
    if records is None:
        return knowledge_of(Snapshot(), machine)
    return knowledge_of(StoredRecords(records, records.newest()), machine)


def _keep(records: RecordDatabase | None) -> Callable[[list[Record]], None] | None:
    if records is None:
        return None

    def keep(batch: list[Record]) -> None:
        records.add(batch)

    return keep


def _passed(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end
