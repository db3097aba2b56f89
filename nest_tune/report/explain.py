"""Why a trial is as it is: each decision changed back alone and measured again on the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum

from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.score import Score
from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.cpu_causes import unable_reasons
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.plain import to_plain
from compiler_core.units.names import is_on_cpu
from nest_tune.board_measurers import failures_named
from nest_tune.figures import figure
from nest_tune.study.execution.benches import bench_of
from nest_tune.study.execution.examined import Costs
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.proposals.evidence import trial_score
from nest_tune.study.proposals.front import ends, is_worse, least
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.trial import Outcome, OuterTrial

Progress = Callable[[str], None]


class Verdict(Enum):
    """What changing a decision back does to the objectives."""

    WORSE = "worse"
    BETTER = "better"
    MIXED = "better and worse"
    EQUAL = "no difference"
    BREAKS = "breaks a limit"
    UNKNOWN = ""
    """Nothing was measured."""


@dataclass(frozen=True)
class Effect:
    """One decision changed back to the default, everything else kept.

    Attributes:
        decision: Name of the parameter, ``tiling``, or ``tiling of TASK``.
        value, default: Of the trial and of the default.
        metrics: What was measured with the default; empty where that is not possible.
        untuned: Tasks that occur only then and have no tuned schedule: they count as untuned.
        message: Why nothing was measured.
        breaks: Limits that would not hold, as written.
        score: Accuracy that was measured, with single samples.
        intervals: 95 % intervals of what was measured by the clock.
    """

    decision: str
    value: str
    default: str
    metrics: Mapping[str, float]
    untuned: int = 0
    message: str = ""
    breaks: tuple[str, ...] = ()
    score: Score | None = None
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Binding:
    """A limit and what it costs.

    Attributes:
        limit: As written, with its metric.
        value: Of the trial.
        slack: What is left to the nearer bound, in units of the metric.
        best: First objective of the best trial that holds every limit; ``None`` where none does.
        better_without: Number of the best trial that breaks this limit alone and is better than
            that in the first objective; ``None`` where there is none: the limit costs nothing.
        would_be: First objective of that trial.
        samples: That the accuracy of that trial was measured on, where these are not all.
    """

    limit: str
    value: float
    slack: float
    best: float | None
    better_without: int | None
    would_be: float | None
    samples: int | None = None


@dataclass(frozen=True)
class Explanation:
    """Why a trial is as it is.

    Attributes:
        trial: What is explained.
        default: Trial 0, where it was measured.
        bound_ms: Latency if every program reached its lower bound.
        effects: Worth of each decision, in the order of the parameters.
        bindings: One per limit.
        on_cpu: Why each node is on the CPU, by node name.
    """

    trial: OuterTrial
    default: OuterTrial | None
    bound_ms: float
    effects: tuple[Effect, ...]
    bindings: tuple[Binding, ...]
    on_cpu: Mapping[str, str]


def explain(
    ground: Ground,
    result: StudyResult,
    trial: OuterTrial,
    *,
    each_task: bool = False,
    progress: Progress = lambda _: None,
) -> Explanation:
    """Measures what each decision of a trial is worth.

    Args:
        ground: What the study stands on.
        result: The study.
        trial: A measured one.
        each_task: Also change the schedule of each task back alone.
        progress: Told what is being measured.

    Raises:
        InputError: The trial was not measured.
    """
    on_cpu: Mapping[str, str] = {}
    if not ground.are_sources:
        compiled = compile_trial(ground, result, trial)
        on_cpu = _on_cpu(compiled, ground, trial)
    trial = _settled(ground, result, trial)
    changes = _Changes(ground, result, trial, progress)
    effects = (*changes.decisions(), *changes.tilings(each_task=each_task))
    default = result.default
    if default is not None and not default.outcome.is_measured:
        default = None
    return Explanation(
        trial,
        default,
        trial.bound_ms,
        effects,
        tuple(_bindings(result, trial)),
        on_cpu,
    )


def _settled(ground: Ground, result: StudyResult, trial: OuterTrial) -> OuterTrial:
    """A trial with its accuracy on all samples, as that of every change to it."""
    if trial.settled or ground.settings.evaluation is None:
        return trial
    bench = bench_of(ground.subjects)
    own = bench.accuracy(ground.space.decode(trial.point), 0)
    default = result.default
    known = None
    if default is not None and default.outcome.is_measured:
        known = Score(default.metrics["accuracy"], own.samples)
    found = accuracy_metrics(ground.settings.metric, own, bench.float_accuracy(0), known)
    metrics = {**trial.metrics, **found}
    return replace(trial, metrics=metrics, settled=True, accuracy_samples=bench.samples)


def changed_decisions(ground: Ground, result: StudyResult, trial: OuterTrial) -> tuple[int, ...]:
    """Indices of the decisions of a trial that are not the default's and that have to be measured:
    no trial of the study has changed them back already."""
    pairs = enumerate(zip(trial.point, ground.space.default, strict=True))
    points = {
        index: changed_back(trial.point, index, default)
        for index, (value, default) in pairs
        if value != default
    }
    return tuple(i for i, point in points.items() if _known(result, trial, point) is None)


def changed_back(point: tuple[int, ...], index: int, default: int) -> tuple[int, ...]:
    """A point with one decision as in the default."""
    return (*point[:index], default, *point[index + 1 :])


def _known(result: StudyResult, trial: OuterTrial, point: tuple[int, ...]) -> OuterTrial | None:
    """The trial that has measured a point already, tuned as ``trial`` is."""
    for other in result.trials:
        if other.point == point and other.tuned == trial.tuned:
            return other if other.outcome.is_measured and other.settled else None
    return None


class _Changes:
    def __init__(
        self, ground: Ground, result: StudyResult, trial: OuterTrial, progress: Progress
    ) -> None:
        self._ground, self._result, self._trial = ground, result, trial
        self._progress = progress
        self._bench = bench_of(ground.subjects)
        self._evaluates = ground.settings.evaluation is not None
        self._float = self._bench.float_accuracy(0) if self._evaluates else None

    def decisions(self) -> Iterator[Effect]:
        space, trial = self._ground.space, self._trial
        for index, parameter in enumerate(space.parameters):
            value, default = trial.point[index], space.default[index]
            if value == default:
                continue
            self._progress(f"changing back {parameter.name}")
            point = changed_back(trial.point, index, default)
            shown = [str(to_plain(parameter.values[index])) for index in (value, default)]
            effect = Effect(parameter.name, shown[0], shown[1], {})
            if not space.is_legal(point):
                yield replace(effect, message="the default is not legal beside the other decisions")
                continue
            try:
                yield self._measured(effect, point)
            except (InfeasibleError, InputError) as error:
                yield replace(effect, message=error.message)

    def tilings(self, *, each_task: bool) -> Iterator[Effect]:
        trial = self._trial
        if not trial.tuned:
            return
        self._progress("changing back tiling")
        decisions = self._ground.space.decode(trial.point)
        untuned = self._costs(decisions, self._schedules(decisions, tuned=False))
        whole = Effect("tiling", "tuned", "untuned", dict(untuned.metrics))
        yield self._judged(self._with_accuracy(whole))
        if not each_task:
            return
        schedules = self._schedules(decisions)
        for name, tuned in self._result.tasks.items():
            if name not in schedules or tuned.cycles == tuned.default_cycles:
                continue
            self._progress(f"changing back tiling of {name}")
            others = {task: schedule for task, schedule in schedules.items() if task != name}
            if isinstance(self._bench, SourceBench):
                usual = self._schedules(decisions, tuned=False)
                others = {**others, name: usual[name]}
            costs = self._costs(decisions, others)
            one = Effect(f"tiling of {name}", "tuned", "untuned", dict(costs.metrics))
            yield self._judged(self._with_accuracy(one))

    def _measured(self, effect: Effect, point: tuple[int, ...]) -> Effect:
        known = _known(self._result, self._trial, point)
        if known is not None:
            found = trial_score(known)
            kept = replace(effect, intervals=known.intervals)
            return self._judged(replace(kept, metrics=dict(known.metrics), score=found))
        decisions = self._ground.space.decode(point)
        untuned = 0
        schedules = self._schedules(decisions, tuned=self._trial.tuned)
        if self._trial.tuned:
            untuned = len(self._tasks(decisions)) - len(schedules)
        costs = self._costs(decisions, schedules)
        metrics, effect = dict(costs.metrics), replace(effect, intervals=costs.intervals)
        if self._float is not None:
            own = self._bench.accuracy(decisions, 0)
            known = self._result.default
            default = None
            if known is not None and known.outcome.is_measured:
                default = Score(known.metrics["accuracy"], own.samples)
            metric = self._ground.settings.metric
            metrics |= accuracy_metrics(metric, own, self._float, default)
            effect = replace(effect, score=own)
        return self._judged(replace(effect, metrics=metrics, untuned=untuned))

    def _costs(self, decisions: Mapping[str, object], schedules: Mapping[str, object]) -> Costs:
        """What a candidate costs."""
        if isinstance(self._bench, SourceBench):
            return self._bench.measure(decisions, schedules)[0]
        compiled = self._bench.compiled(decisions, schedules)
        measurer = self._ground.settings.measurer
        with failures_named(measurer) if measurer else nullcontext():
            return self._bench.costs(compiled)

    def _tasks(self, decisions: Mapping[str, object]) -> list[str]:
        if isinstance(self._bench, SourceBench):
            return list({task.name: None for task in self._bench.candidate(decisions).tasks})
        return list(self._bench.tasks(decisions)[0])

    def _schedules(
        self, decisions: Mapping[str, object], *, tuned: bool = True
    ) -> dict[str, object]:
        """Tuned schedules of the study for the tasks of a candidate; of generated sources, where
        every operator has to be measured, of all of them, tuned or not."""
        known = self._result.tasks
        if isinstance(self._bench, SourceBench):
            found = {name: task.schedule for name, task in known.items()}
            return self._bench.schedules(decisions, found, tuned=tuned)
        if not tuned:
            return {}
        return {name: known[name].schedule for name in self._tasks(decisions) if name in known}

    def _with_accuracy(self, effect: Effect) -> Effect:
        """The trial's own: schedules never change a bit of the results."""
        kept = {n: v for n, v in self._trial.metrics.items() if n.startswith("accuracy")}
        return replace(effect, metrics={**effect.metrics, **kept})

    def _judged(self, effect: Effect) -> Effect:
        broken = tuple(
            f"{shown_name(limit.metric.value, self._result.settings.metric)} {limit.text}"
            for limit in self._result.settings.limits
            if limit.metric.value in effect.metrics
            and limit.excess(effect.metrics[limit.metric.value]) > 0
        )
        return replace(effect, breaks=broken)


def _bindings(result: StudyResult, trial: OuterTrial) -> Iterator[Binding]:
    limits, goal = result.settings.limits, result.settings.objectives[0]
    name = goal.metric.value
    # What any trial reaches within all limits costs no limit anything.
    feasible = [t for t in (*result.trials, trial) if t.is_feasible and name in t.metrics]
    first = least(feasible, [goal])
    best = None if first is None else first.metrics[name]
    for limit in limits:
        metric = limit.metric.value
        if metric not in trial.metrics:
            continue
        others = [other for other in limits if other != limit]
        better = [
            t
            for t in result.trials
            if t.outcome is Outcome.CONSTRAINTS
            and limit.excess(t.metrics[metric]) > 0
            and not any(other.excess(t.metrics[other.metric.value]) > 0 for other in others)
            and (first is None or is_worse(first, t, goal))
        ]
        other = min(better, key=lambda t: (goal.loss(t.metrics[name]), t.number), default=None)
        value = trial.metrics[metric]
        yield Binding(
            f"{shown_name(metric, result.settings.metric)} {limit.text}",
            value,
            min(limit.high - value, value - limit.low),
            best,
            None if other is None else other.number,
            None if other is None else other.metrics[name],
            None if other is None or other.settled else other.accuracy_samples,
        )


def _on_cpu(compiled: CompiledModel, ground: Ground, trial: OuterTrial) -> dict[str, str]:
    """Why nodes run on the CPU: the NPU cannot, the layout does not allow it, or it was decided;
    nothing where the target has no NPU."""
    target = compiled.executable.target
    if not target.npu_cores:
        return {}
    cannot = unable_reasons(ground.model.graph, target)
    refused = compiled.source.cpu_reasons
    plan = compiled.configuration.plan
    found = {}
    for node in ground.model.graph.nodes:
        if node.name in refused:
            found[node.name] = refused[node.name]
        elif is_on_cpu(plan.get(node.name, "")):
            found[node.name] = cannot.get(node.name, f"decided by trial {trial.number}")
    return found


def verdict(effect: Effect, trial: OuterTrial, result: StudyResult) -> Verdict:
    """What changing a decision back does to the objectives of a trial."""
    goals = [g for g in result.settings.objectives if g.metric.value in effect.metrics]
    if not goals:
        return Verdict.UNKNOWN
    pairs = [
        (ends(g, effect.metrics, effect.intervals), ends(g, trial.metrics, trial.intervals))
        for g in goals
    ]
    gains = any(ours[1] < theirs[0] for ours, theirs in pairs)
    loses = any(ours[0] > theirs[1] for ours, theirs in pairs)
    if effect.breaks and not loses:
        return Verdict.BREAKS
    if gains and loses:
        return Verdict.MIXED
    if gains:
        return Verdict.BETTER
    return Verdict.WORSE if loses else Verdict.EQUAL


def asked_metrics(settings: StudySettings) -> list[str]:
    """Names of the metrics that objectives or limits of a study are about."""
    goals = [goal.metric.value for goal in settings.objectives]
    return [*goals, *(limit.metric.value for limit in settings.limits)]


def limit_text(binding: Binding, result: StudyResult) -> str:
    """A limit and what it costs, for people."""
    limited = binding.limit.split()[0]
    value, slack = figure(binding.value, limited), figure(binding.slack, limited)
    text = f"limit {binding.limit}: {value}, {slack} left"
    if binding.better_without is None:
        return f"{text}; it costs nothing: no trial that breaks it alone is better"
    first = result.settings.objectives[0].metric.value
    name = shown_name(first, result.settings.metric)
    accuracy = shown_name("accuracy", result.settings.metric)
    best = "nothing" if binding.best is None else figure(binding.best, first)
    counted = "" if binding.samples is None else f" ({accuracy} on {binding.samples} samples)"
    return (
        f"{text}; it binds: without it trial {binding.better_without} would give {name} "
        f"{figure(binding.would_be, first)}{counted}; within all limits the best is {best}"
    )
