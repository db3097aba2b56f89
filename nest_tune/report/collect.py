"""From a stored study to everything that its report shows; what there are no data for is empty."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from compiler_core.compile import CompiledModel
from compiler_core.errors import NestTuneError
from nest_tune.report.charts import Dot, FrontChart, Limits, Line, ProgressChart, RooflineChart
from nest_tune.report.compiled import LayerRow, QuantizedRow
from nest_tune.report.gantt import Gantt
from nest_tune.report.scale import short
from nest_tune.study.documents import study_status
from nest_tune.study.engine import outcome_counts
from nest_tune.study.front import closest
from nest_tune.study.goals import Direction, Metric, Objective
from nest_tune.study.lifecycle import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial

Progress = Callable[[str], None]

LABELS = {
    "latency_ms": "latency, ms",
    "npu_cycles": "NPU cycles",
    "energy_mj": "energy, mJ",
    "size_bytes": "size, bytes",
    "dram_peak_bytes": "DRAM peak, bytes",
    "accuracy": "accuracy",
    "accuracy_drop": "accuracy drop",
}


@dataclass(frozen=True)
class Tile:
    """One number of the summary.

    Attributes:
        label: Metric.
        value: Of the chosen trial.
        default: Of the default trial.
        change: In words; empty where there is none.
        better: Whether the change is for the better; ``None`` where it is neither.
    """

    label: str
    value: str
    default: str
    change: str
    better: bool | None


@dataclass(frozen=True)
class Failure:
    """Trials that ended alike."""

    outcome: str
    count: int
    trials: tuple[int, ...]
    message: str


@dataclass(frozen=True)
class TaskRow:
    """A tuned task."""

    name: str
    default_cycles: int
    cycles: int
    bound_cycles: int
    measurements: int


@dataclass(frozen=True)
class CompiledPart:
    """Sections that take a compile."""

    gantt: Gantt | None = None
    roofline: RooflineChart | None = None
    without_macs: int = 0
    layers: tuple[LayerRow, ...] = ()
    picture: str = ""
    quantized: tuple[QuantizedRow, ...] = ()
    sqnr_samples: int = 0


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Attributes:
        name, status, created: Of the study.
        model, target: Names.
        goals, limits: In words.
        outcomes: Trials by outcome.
        chosen: Its number, ``None`` where nothing is feasible.
        chosen_decisions: What it sets otherwise than the default trial.
        front_trials: Of the front, with the chosen one.
        metric_names: Columns of the front's table.
        tiles: Summary.
        fronts, progress: Charts.
        tasks: Tuned ones, those with the most cycles left to gain first.
        importances: By objective's label.
        failures: By outcome and message.
        closest: Trials nearest to the limits, where nothing is feasible.
        compiled: Of the chosen trial beside the default.
        notes: What is left out and why.
        commands: To do it again.
        digests, settings: Of the study.
        versions: Of what the report was made with.
    """

    name: str
    status: str
    created: str
    model: str
    target: str
    goals: tuple[str, ...]
    limits: tuple[str, ...]
    outcomes: Mapping[str, int]
    chosen: int | None
    chosen_decisions: Mapping[str, str]
    front_trials: tuple[OuterTrial, ...]
    metric_names: tuple[str, ...]
    tiles: tuple[Tile, ...]
    fronts: tuple[FrontChart, ...]
    progress: tuple[ProgressChart, ...]
    tasks: tuple[TaskRow, ...]
    importances: Mapping[str, Mapping[str, float]]
    failures: tuple[Failure, ...]
    closest: tuple[OuterTrial, ...]
    compiled: CompiledPart
    notes: tuple[str, ...]
    commands: tuple[str, ...]
    digests: Mapping[str, str]
    settings: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)


def collect(
    result: StudyResult, rule: str = "knee", *, progress: Progress = lambda _: None
) -> ReportData:
    """What a report of a study shows.

    Args:
        result: The study.
        rule: How the chosen trial is picked from the front.
        progress: Told what is being done.

    Raises:
        InputError: The rule cannot be used.
    """
    from nest_tune.report.importance import importances
    from nest_tune.study.lifecycle import unix_time
    from nest_tune.study.selection import decisions_of
    from nest_tune.study_file import settings_document

    chosen = result.chosen(rule)
    default = result.default
    notes: list[str] = []
    parameters = [(name, values) for name, values in result.study.document.get("parameters", [])]
    weights = {
        _label(goal.metric.value): importances(result.trials, parameters, goal)
        for goal in result.settings.objectives
    }
    compiled = CompiledPart()
    if chosen is not None:
        compiled = _compiled(result, chosen, notes, progress)
    settings = settings_document(result.settings)
    return ReportData(
        name=result.study.name,
        status=study_status(result),
        created=unix_time(result.study.created_s),
        model=Path(result.settings.model).name,
        target=result.settings.target,
        goals=tuple(f"{o.direction.value} {o.metric.value}" for o in result.settings.objectives),
        limits=tuple(f"{x.metric.value} {x.text}" for x in result.settings.limits),
        outcomes=outcome_counts(result.trials),
        chosen=None if chosen is None else chosen.number,
        chosen_decisions={
            name: str(value)
            for name, value in ({} if chosen is None else decisions_of(result, chosen)).items()
        },
        front_trials=result.front,
        metric_names=tuple(n for n in LABELS if any(n in t.metrics for t in result.trials)),
        tiles=() if chosen is None else _tiles(chosen, default),
        fronts=_fronts(result, chosen),
        progress=_progress(result, chosen),
        tasks=_tasks(result),
        importances={label: found for label, found in weights.items() if found},
        failures=_failures(result),
        closest=()
        if chosen is not None
        else closest(result.trials, result.settings.limits, default),
        compiled=compiled,
        notes=tuple(notes),
        commands=_commands(result, chosen),
        digests={k: str(v) for k, v in result.study.document.get("digests", {}).items() if v},
        settings={k: _shown(v) for k, v in settings.items() if v not in (None, [], {})},
        versions=_versions(),
    )


def _label(metric: str) -> str:
    return LABELS.get(metric, metric)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)


def _compiled(
    result: StudyResult, chosen: OuterTrial, notes: list[str], progress: Progress
) -> CompiledPart:
    """Sections of the compiled model; where its files have changed or gone, a note instead."""
    from nest_tune.study.lifecycle import check_unchanged, compile_trial, survey_ground

    try:
        ground = survey_ground(result.settings, result.study)
        check_unchanged(result.study, ground)
        progress(f"compiling trial {chosen.number}")
        best = compile_trial(ground, result, chosen)
        default: CompiledModel | None = None
        if result.default is not None and result.default.outcome.is_measured:
            progress("compiling the default")
            default = compile_trial(ground, result, result.default)
    except NestTuneError as error:
        notes.append(f"Everything that takes a compile is left out: {error.message}")
        return CompiledPart()
    from compiler_core.frontend import read_samples
    from nest_tune.report import compiled as parts

    samples = None
    source = result.settings.evaluation or result.settings.calibration
    if source is not None:
        arrays = read_samples(Path(source), ground.model.graph)
        count = min(parts.SQNR_SAMPLES, *(len(array) for array in arrays.values()))
        samples = {name: array[:count] for name, array in arrays.items()}
    progress("drawing")
    chart, without = parts.roofline_chart(default, best, ground.target)
    try:
        picture = parts.plan_picture(best, ground.target)
    except NestTuneError as error:
        picture = ""
        notes.append(f"The partitioned graph is left out: {error.message}")
    return CompiledPart(
        parts.gantt(best, ground.target),
        chart,
        without,
        parts.layer_rows(default, best),
        picture,
        parts.quantized_rows(best, samples),
        0 if samples is None else len(next(iter(samples.values()))),
    )


def _tiles(chosen: OuterTrial, default: OuterTrial | None) -> tuple[Tile, ...]:
    tiles = []
    before = {} if default is None else default.metrics
    for name, label in LABELS.items():
        if name not in chosen.metrics:
            continue
        value, change, better = chosen.metrics[name], "", None
        if name in before:
            difference = value - before[name]
            if name.startswith("accuracy"):
                change = f"{difference * 100:+.2f} points"
            elif before[name]:
                change = f"{difference / before[name]:+.1%}"
            if difference == 0:
                change = "as the default"
            else:
                better = (difference > 0) == (name == Metric.ACCURACY.value)
        was = number(before[name], name) if name in before else ""
        tiles.append(Tile(label, number(value, name), was, change, better))
    return tuple(tiles)


def number(value: float, metric: str) -> str:
    """A metric for people."""
    if metric in ("npu_cycles", "size_bytes", "dram_peak_bytes"):
        return f"{value:,.0f}"
    return f"{value:.4f}" if metric.startswith("accuracy") else f"{value:.4g}"


def _limits(result: StudyResult, metric: str) -> Limits:
    """Limits of a metric; one on the accuracy drop bounds the accuracy, too."""
    for limit in result.settings.limits:
        if limit.metric.value == metric:
            return Limits(limit.low, limit.high)
    float_accuracy = _float_accuracy(result)
    if metric == Metric.ACCURACY.value and float_accuracy is not None:
        for limit in result.settings.limits:
            if limit.metric is Metric.ACCURACY_DROP:
                low = float_accuracy - limit.high if isfinite(limit.high) else float("-inf")
                high = float_accuracy - limit.low if isfinite(limit.low) else float("inf")
                return Limits(low, high)
    return Limits()


def _float_accuracy(result: StudyResult) -> float | None:
    """That of the float model, from any trial that was measured on all samples."""
    for trial in result.trials:
        if trial.settled and {"accuracy", "accuracy_drop"} <= set(trial.metrics):
            return trial.metrics["accuracy"] + trial.metrics["accuracy_drop"]
    return None


def _kind(result: StudyResult, trial: OuterTrial, chosen: OuterTrial | None) -> str:
    if chosen is not None and trial.number == chosen.number:
        return "chosen"
    if trial.number == 0:
        return "default"
    if any(trial.number == other.number for other in result.front):
        return "front"
    return "feasible" if trial.is_feasible else "infeasible"


def _tip(trial: OuterTrial, names: tuple[str, ...]) -> str:
    parts = [f"{n} {number(trial.metrics[n], n)}" for n in names if n in trial.metrics]
    broken = f"; {trial.message}" if trial.message else ""
    return f"trial {trial.number}: {', '.join(parts)}{broken}"


def _fronts(result: StudyResult, chosen: OuterTrial | None) -> tuple[FrontChart, ...]:
    """The first objective against each other one; with one alone against the accuracy."""
    goals = list(result.settings.objectives)
    if len(goals) == 1 and goals[0].metric is not Metric.ACCURACY:
        goals.append(Objective(Metric.ACCURACY, Direction.MAXIMIZE))
    first = goals[0]
    charts = []
    for other in goals[1:]:
        names = first.metric.value, other.metric.value
        shown = [t for t in result.trials if all(n in t.metrics for n in names)]
        if len(shown) < 2:
            continue
        charts.append(
            FrontChart(
                _label(names[0]),
                _label(names[1]),
                tuple(
                    Dot(
                        t.metrics[names[0]],
                        t.metrics[names[1]],
                        _kind(result, t, chosen),
                        _tip(t, names),
                    )
                    for t in shown
                ),
                _limits(result, names[0]),
                _limits(result, names[1]),
                first.direction is Direction.MINIMIZE,
                other.direction is Direction.MINIMIZE,
            )
        )
    return tuple(charts)


def _progress(result: StudyResult, chosen: OuterTrial | None) -> tuple[ProgressChart, ...]:
    spent, clock = {}, 0.0
    for trial in result.trials:
        clock += trial.wall_s
        spent[trial.number] = clock
    charts = []
    for goal in result.settings.objectives:
        lines = _lines(result, goal, chosen)
        by_trial = {t.number: float(t.number) for t in result.trials}
        axes = [("trial", by_trial)]
        if goal == result.settings.objectives[0] and clock > 0:
            axes.append(("work of the runners, s", spent))
        for x_name, places in axes:
            chart = _progress_chart(result, goal, places, x_name, lines)
            if chart is not None:
                charts.append(chart)
    return tuple(charts)


def _progress_chart(
    result: StudyResult,
    goal: Objective,
    places: Mapping[int, float],
    x_name: str,
    lines: tuple[Line, ...],
) -> ProgressChart | None:
    name = goal.metric.value
    measured = [t for t in result.trials if name in t.metrics]
    if len(measured) < 2:
        return None
    best: list[tuple[float, float]] = []
    for trial in measured:
        if not (trial.is_feasible and trial.settled):
            continue
        value = trial.metrics[name]
        if not best or goal.loss(value) < goal.loss(best[-1][1]):
            best.append((places[trial.number], value))
    dots = tuple(
        Dot(
            places[t.number],
            t.metrics[name],
            "feasible" if t.is_feasible else "infeasible",
            _tip(t, (name,)),
        )
        for t in measured
    )
    return ProgressChart(x_name, _label(name), dots, tuple(best), lines)


def _lines(result: StudyResult, goal: Objective, chosen: OuterTrial | None) -> tuple[Line, ...]:
    name, lines = goal.metric.value, []
    default = result.default
    if default is not None and name in default.metrics:
        value = default.metrics[name]
        lines.append(Line(value, f"default {short(value)}", "default"))
    if goal.metric is Metric.LATENCY_MS and chosen is not None and chosen.bound_ms > 0:
        bound = chosen.bound_ms
        lines.append(Line(bound, f"bound of trial {chosen.number}: {short(bound)}", "bound"))
    float_accuracy = _float_accuracy(result)
    if goal.metric is Metric.ACCURACY and float_accuracy is not None:
        lines.append(Line(float_accuracy, f"float model {short(float_accuracy)}", "float"))
    allowed = _limits(result, name)
    for bound in (allowed.low, allowed.high):
        if isfinite(bound):
            lines.append(Line(bound, f"limit {short(bound)}", "limit"))
    return tuple(lines)


def _tasks(result: StudyResult) -> tuple[TaskRow, ...]:
    rows = [
        TaskRow(name, t.default_cycles, t.cycles, t.bound_cycles, t.measurements)
        for name, t in result.tasks.items()
    ]
    return tuple(sorted(rows, key=lambda r: (r.bound_cycles - r.cycles, r.name)))


def _failures(result: StudyResult) -> tuple[Failure, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for trial in result.trials:
        if trial.outcome is Outcome.COMPLETE:
            continue
        # Messages of broken limits hold the values of each trial; one stands for all.
        message = "" if trial.outcome is Outcome.CONSTRAINTS else trial.message
        found.setdefault((trial.outcome.value, message), []).append(trial.number)
    first = {t.number: t.message for t in result.trials}
    return tuple(
        Failure(outcome, len(numbers), tuple(numbers), message or first[numbers[0]])
        for (outcome, message), numbers in sorted(
            found.items(), key=lambda item: (-len(item[1]), item[0])
        )
    )


def _commands(result: StudyResult, chosen: OuterTrial | None) -> tuple[str, ...]:
    settings = result.settings
    quote = shlex.quote
    if settings.file is not None:
        words = ["nest-tune", "study", "start", quote(settings.file)]
        words += ["--seed", str(settings.seed), "--trials", str(len(result.trials))]
    else:
        words = ["nest-tune", "study", "start", "--model", quote(settings.model)]
        words += ["--target", quote(settings.target)]
        for option, path in (
            ("--calibration", settings.calibration),
            ("--evaluation", settings.evaluation),
            ("--plan", settings.plan),
        ):
            words += [] if path is None else [option, quote(path)]
        for name, shape in settings.shapes.items():
            words += ["--shape", quote(f"{name}={','.join(map(str, shape))}")]
        for goal in settings.objectives:
            words += ["--objective", f"{goal.metric.value}:{goal.direction.value}"]
        for limit in settings.limits:
            if isfinite(limit.low):
                words += ["--constraint", quote(f"{limit.metric.value}>={limit.low!r}")]
            if isfinite(limit.high):
                words += ["--constraint", quote(f"{limit.metric.value}<={limit.high!r}")]
        spaces = [n for n in ("quantization", "partition", "tiling") if getattr(settings, n)]
        words += ["--metric", quote(settings.metric), "--space", ",".join(spaces)]
        words += ["--sampler", settings.sampler, "--seed", str(settings.seed)]
        words += ["--trials", str(len(result.trials))]
    commands = [" ".join(words)]
    if chosen is not None:
        name = settings.name
        config = f"{name}.toml"
        commands.append(f"nest-tune study export {name}:{chosen.number} -o {config}")
        commands.append(
            f"nest-tune compile {quote(settings.model)} --target {quote(settings.target)} "
            f"--config {config} -o {name}-package"
        )
        commands.append(f"nest-tune ci check {config}")
    return tuple(commands)


def _versions() -> dict[str, str]:
    import platform
    from importlib import metadata

    found = {"Python": platform.python_version()}
    for name in ("nest-tune", "numpy", "numba", "onnx", "onnxruntime", "optuna"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
