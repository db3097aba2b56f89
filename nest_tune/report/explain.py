"""Why a trial is as it is: each decision changed back alone and measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.score import Score
from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.cpu_causes import unable_reasons
from compiler_core.files.plain import to_plain
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.units.names import is_on_cpu
from nest_tune.figures import figure
from nest_tune.report.changes import Changes, Effect, shares_of_latency
from nest_tune.report.kept import Kept
from nest_tune.study.execution.benches import bench_of
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.proposals.front import ends, is_worse, least
from nest_tune.study.proposals.outer_space import PlacementPart
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.trial import Outcome, OuterTrial

if TYPE_CHECKING:
    from nest_tune.study.store.results import ResultRows

Progress = Callable[[str], None]

_DECIDED = "decided by trial"


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
        interrupted: Whether somebody broke the measurements off.
    """

    trial: OuterTrial
    default: OuterTrial | None
    bound_ms: float
    effects: tuple[Effect, ...]
    bindings: tuple[Binding, ...]
    on_cpu: Mapping[str, str]
    interrupted: bool = False


def explain(
    ground: Ground,
    result: StudyResult,
    trial: OuterTrial,
    *,
    each_task: bool = False,
    count: int | str | None = None,
    compiled: CompiledModel | None = None,
    storage: ResultRows | None = None,
    progress: Progress = lambda _: None,
) -> Explanation:
    """Measures what each decision of a trial is worth.

    Who interrupts it (``KeyboardInterrupt``) gets what was measured until then.

    Args:
        ground: What the study stands on.
        result: The study.
        trial: A measured one.
        each_task: Also change the schedule of each task back alone.
        count: How many decisions are measured, or ``all``; ``None`` for those that are about most
            of the latency, as many as :mod:`nest_tune.report.changes` bounds.
        compiled: Of the trial, where it is at hand.
        storage: That keeps what is measured, and knows what was.
        progress: Told what is being measured.

    Raises:
        InputError: The trial was not measured.
    """
    kept = Kept(storage, ground)
    on_cpu: Mapping[str, str] = {}
    shares: Mapping[str, float] = layer_macs(ground.model.graph)
    if not ground.are_sources:
        compiled = compiled or compile_trial(ground, result, trial)
        on_cpu = _on_cpu(compiled, ground, trial)
        shares = {layer.name: layer.latency_ms for layer in compiled.report.layers}
    trial = _settled(ground, result, trial, kept)
    changes = Changes(
        ground, result, trial, kept, progress, count=count, shares=shares_of_latency(shares)
    )
    effects = changes.all(each_task=each_task)
    on_cpu = {name: _decided(name, why, ground, result, effects) for name, why in on_cpu.items()}
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
        changes.interrupted,
    )


def _settled(ground: Ground, result: StudyResult, trial: OuterTrial, kept: Kept) -> OuterTrial:
    """A trial with its accuracy on all samples, as that of every change to it."""
    if trial.settled or ground.settings.evaluation is None:
        return trial
    bench, decisions = bench_of(ground.subjects), ground.space.decode(trial.point)
    key = kept.key("accuracy", {"decisions": decisions})
    own = Score(**kept.get(key, lambda: to_plain(bench.accuracy(decisions, 0))))
    default = result.default
    known = None
    if default is not None and default.outcome.is_measured:
        known = Score(default.metrics["accuracy"], own.samples)
    floats = Score(**kept.get(kept.key("float", {}), lambda: to_plain(bench.float_accuracy(0))))
    found = accuracy_metrics(ground.settings.metric, own, floats, known)
    metrics = {**trial.metrics, **found}
    return replace(trial, metrics=metrics, settled=True, accuracy_samples=own.samples)


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
            found[node.name] = cannot.get(node.name, f"{_DECIDED} {trial.number}")
    return found


def _decided(
    node: str, reason: str, ground: Ground, result: StudyResult, effects: Sequence[Effect]
) -> str:
    """A reason; of what was decided also what the cost tables say of it, and what was measured."""
    if not reason.startswith(_DECIDED):
        return reason
    words = [reason]
    for part in ground.space.parts:
        if not isinstance(part, PlacementPart):
            continue
        group, times = part.alone_ms(node)
        told = [f"{figure(ms, 'latency_ms')} ms on {place}" for place, ms in times.items()]
        if told:
            words.append(f"cost tables, in a program of its own: {', '.join(told)}")
        first = result.settings.objectives[0].metric.value
        for own in effects:
            if own.decision == f"{part.name}.{group}" and first in own.metrics:
                name = shown_name(first, result.settings.metric)
                words.append(f"{name} {figure(own.metrics[first], name)} measured on {own.default}")
    return "; ".join(words)


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


def left_out_text(effects: Sequence[Effect], command: str) -> str:
    """How many decisions are not measured, and what measures them; empty where all are."""
    count = sum(effect.left_out for effect in effects)
    if not count:
        return ""
    changed = sum(not effect.decision.startswith("tiling") for effect in effects)
    return (
        f"{count} of {changed} decisions are not measured: {command} --effects all measures them, "
        "and what is measured is kept"
    )


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
