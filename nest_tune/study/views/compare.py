"""Studies side by side after the same number of trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError
from nest_tune.study.choice.chance import chosen_of
from nest_tune.study.proposals.front import losses, pareto_front
from nest_tune.study.proposals.hypervolume import hypervolume
from nest_tune.study.request.goals import Objective
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import study_command

_CHECKPOINTS = 4


@dataclass(frozen=True)
class Best:
    """The best feasible value of an objective, and the trial that has it; with the 95 % interval of
    an accuracy."""

    value: float
    trial: int
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a study had found after its first trials.

    Attributes:
        trials: How many.
        best: By metric; without those that no feasible trial has.
        hypervolume: Share of the box between the best and the worst values of all studies that its
            front dominates; ``None`` with one objective.
    """

    trials: int
    best: Mapping[str, Best]
    hypervolume: float | None


@dataclass(frozen=True)
class Contender:
    """One of the studies.

    Attributes:
        name, sampler, seed: Of the study.
        all_trials: Also those that are not compared.
        feasible: Among the compared ones.
        work_s: Work of the runners on the compared ones.
        checkpoints: The last one is at the common number of trials.
        front: Of the compared trials.
        chosen: From that front; ``None`` where nothing is feasible.
        decisions: Of the chosen trial: all parameters of the study's space.
        task_cycles: Cycles of one run of each task that all studies have tuned, summed.
        measurements: Spent on these.
        known_records: Measurements of the target that the database held when it was started.
    """

    name: str
    sampler: str
    seed: int
    all_trials: int
    feasible: int
    work_s: float
    checkpoints: tuple[Checkpoint, ...]
    front: tuple[OuterTrial, ...]
    chosen: OuterTrial | None
    decisions: Mapping[str, str]
    task_cycles: int
    measurements: int
    known_records: int


@dataclass(frozen=True)
class Comparison:
    """Studies side by side.

    Attributes:
        trials: Of each study that are compared.
        objectives: That all studies have.
        contenders: In the order asked for.
        tasks: That all studies have tuned.
        decisions: Those in which the chosen trials differ: value by study, ``None`` where it has
            no such parameter or nothing is chosen.
        notes: Why numbers may not be comparable.
        metric: Of accuracy, by name: the first study's.
    """

    trials: int
    objectives: tuple[Objective, ...]
    contenders: tuple[Contender, ...]
    tasks: int
    decisions: Mapping[str, tuple[str | None, ...]]
    notes: tuple[str, ...]
    metric: str = "top1"

    def shown(self, goal: Objective) -> str:
        """The name of an objective as it is shown."""
        return shown_name(goal.metric.value, self.metric)

    def winners(self, metric: str) -> tuple[str, ...]:
        """Studies with the best value of a metric at the common number of trials; of an accuracy,
        and of what was measured by the clock, all that the best one is not better than beyond
        chance."""
        goal = next(goal for goal in self.objectives if goal.metric.value == metric)
        values = {
            c.name: goal.loss(c.checkpoints[-1].best[metric].value)
            for c in self.contenders
            if metric in c.checkpoints[-1].best
        }
        lowest = min(values.values(), default=0.0)
        bests = {c.name: c.checkpoints[-1].best.get(metric) for c in self.contenders}
        ends = {name: best.interval for name, best in bests.items() if best is not None}
        first = next((ends[name] for name, value in values.items() if value == lowest), None)
        exact = goal.loss(lowest), goal.loss(lowest)
        theirs = exact if first is None or goal.metric.needs_evaluation else first
        return tuple(
            name for name, value in values.items() if value == lowest or _meet(ends[name], theirs)
        )


def _meet(interval: tuple[float, float] | None, other: tuple[float, float]) -> bool:
    return interval is not None and interval[0] <= other[1] and other[0] <= interval[1]


def compare(
    results: Sequence[StudyResult], *, trials: int | None = None, rule: str | None = None
) -> Comparison:
    """Compares studies.

    Args:
        results: At least two.
        trials: How many of each; ``None`` for as many as the shortest has.
        rule: How one trial is picked from each front; by default as each study does.

    Raises:
        InputError: Fewer than two, one of them twice, without a common objective, or shorter than
            asked for.
    """
    names = [result.study.name for result in results]
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(
            f"{len(names)} studies ({', '.join(names)}): two or more different ones are needed",
            hint="nest-tune study list",
        )
    common = min(len(result.trials) for result in results)
    count = common if trials is None else trials
    short = [r.study.name for r in results if len(r.trials) < max(count, 1)]
    if short:
        raise InputError(
            f"study {short[0]!r} has fewer than {max(count, 1)} trials",
            hint=study_command("resume", short[0]) + (f", or --trials {common}" if common else ""),
        )
    metrics = {result.settings.metric for result in results}
    goals = tuple(
        goal
        for goal in results[0].settings.objectives
        if all(goal in result.settings.objectives for result in results)
        and not (goal.metric.needs_evaluation and len(metrics) > 1)
    )
    if not goals:
        theirs = "; ".join(f"{result.study.name}: {_objectives(result)}" for result in results)
        raise InputError(f"the studies have no objective in common: {theirs}")
    seen = [result.trials[:count] for result in results]
    box = _box([trial for trials in seen for trial in trials], goals)
    shared = set.intersection(*(set(result.tasks) for result in results))
    contenders = tuple(
        _contender(result, trials, goals, box, shared, rule)
        for result, trials in zip(results, seen, strict=True)
    )
    return Comparison(
        count,
        goals,
        contenders,
        len(shared),
        _differing(contenders),
        tuple(_notes(results)),
        results[0].settings.metric,
    )


def _objectives(result: StudyResult) -> str:
    metric = result.settings.metric
    return ", ".join(shown_name(goal.metric.value, metric) for goal in result.settings.objectives)


Box = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest loss of each objective."""


def _box(trials: Sequence[OuterTrial], goals: Sequence[Objective]) -> Box | None:
    table = [losses(trial, goals) for trial in _usable(trials)]
    if len(goals) < 2 or not table:
        return None
    columns = list(zip(*table, strict=True))
    return tuple(map(min, columns)), tuple(map(max, columns))


def _usable(trials: Sequence[OuterTrial]) -> Iterator[OuterTrial]:
    return (trial for trial in trials if trial.is_feasible and trial.settled)


def _contender(
    result: StudyResult,
    trials: Sequence[OuterTrial],
    goals: Sequence[Objective],
    box: Box | None,
    shared: set[str],
    rule: str | None,
) -> Contender:
    steps = sorted({max(1, len(trials) * k // _CHECKPOINTS) for k in range(1, _CHECKPOINTS + 1)})
    front = pareto_front(trials, goals)
    settings = result.settings
    asked = rule or settings.pick
    chosen = chosen_of(front, trials, goals, settings.limits, asked, settings.metric)
    tuned = [result.tasks[name] for name in shared]
    return Contender(
        name=result.study.name,
        sampler=result.settings.sampler,
        seed=result.settings.seed,
        all_trials=len(result.trials),
        feasible=sum(trial.is_feasible for trial in trials),
        work_s=sum(trial.wall_s for trial in trials),
        checkpoints=tuple(_checkpoint(trials[:step], goals, box) for step in steps),
        front=front,
        chosen=chosen,
        decisions={} if chosen is None else _decisions(result, chosen),
        task_cycles=sum(task.cycles for task in tuned),
        measurements=sum(task.measurements for task in tuned),
        known_records=int(result.study.document.get("records", {}).get("count", 0)),
    )


def _checkpoint(
    trials: Sequence[OuterTrial], goals: Sequence[Objective], box: Box | None
) -> Checkpoint:
    usable = list(_usable(trials))
    best = {}
    for goal in goals:
        name = goal.metric.value
        found = min(usable, key=lambda t: (goal.loss(t.metrics[name]), t.number), default=None)
        if found is not None:
            ends = found.intervals.get(name)
            interval = None if ends is None else (ends[0], ends[1])
            best[name] = Best(found.metrics[name], found.number, interval)
    return Checkpoint(len(trials), best, None if box is None else _share(usable, goals, box))


def _share(trials: Sequence[OuterTrial], goals: Sequence[Objective], box: Box) -> float:
    """Each objective runs from 0 (best of all) to 1 (worst of all); equal ones are left out."""
    low, high = box
    kept = [index for index, (a, b) in enumerate(zip(low, high, strict=True)) if b > a]
    if not kept:
        return 0.0
    points = []
    for trial in trials:
        row = losses(trial, goals)
        points.append([(row[i] - low[i]) / (high[i] - low[i]) for i in kept])
    return hypervolume(points, [1.0] * len(kept))


def _decisions(result: StudyResult, trial: OuterTrial) -> dict[str, str]:
    found = {
        str(name): str(values[trial.point[index]])
        for index, (name, values) in enumerate(result.study.document.get("parameters", []))
    }
    return {**found, "tiling": "tuned" if trial.tuned else "untuned"}


def _differing(contenders: Sequence[Contender]) -> dict[str, tuple[str | None, ...]]:
    names = dict.fromkeys(name for contender in contenders for name in contender.decisions)
    rows = {name: tuple(c.decisions.get(name) for c in contenders) for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _notes(results: Sequence[StudyResult]) -> Iterator[str]:
    for what in ("model", "target", "calibration", "evaluation", "metric", "lowering"):
        digests = {str(r.study.document.get("digests", {}).get(what)) for r in results}
        if len(digests) > 1:
            yield f"the studies differ in {what}: their numbers are of different things"
    if len({frozenset(result.settings.limits) for result in results}) > 1:
        yield "the studies have different constraints: each counts as feasible what holds its own"
    records = {r.study.document.get("records", {}).get("digest") for r in results}
    if len(records) > 1 and all(result.settings.tiling for result in results):
        yield "the studies were started with different measurements of tasks in the database"
    if len({r.settings.objectives for r in results}) > 1:
        yield "the studies have different objectives: the common ones are compared"
