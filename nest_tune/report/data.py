"""What a report shows, as values; what there are no data for is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler_core.accuracy.metric import shown_name
from compiler_core.precision.explained import ChosenFormat
from cost_models.evaluation import PredictionQuality
from nest_tune.report.charts import FrontChart, ProgressChart, RooflineChart, ScatterChart
from nest_tune.report.compiled import LayerRow
from nest_tune.report.effects import Effects
from nest_tune.report.gantt import Gantt
from nest_tune.report.quantized import QuantizedRow
from nest_tune.report.shares import Share
from nest_tune.report.source_rows import SourcePart
from nest_tune.study.trial import OuterTrial
from nest_tune.study.views.decisions import decisions_text

_READ_ONE_BY_ONE = 24
"""Decisions."""

LABELS = {
    "latency_ms": "latency, ms",
    "npu_cycles": "NPU cycles",
    "energy_mj": "energy, mJ",
    "size_bytes": "size, bytes",
    "dram_peak_bytes": "DRAM peak, bytes",
    "instructions": "instructions",
    "cycles": "cycles, extrapolated",
    "flash_bytes": "flash, bytes",
    "constant_bytes": "constants, bytes",
    "ram_peak_bytes": "RAM peak, bytes",
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
        float_value: Of the float model on the CPU; empty where it is not known.
        change: In words; empty where there is none.
        better: Whether the change is for the better; ``None`` where it is neither, or within
            chance.
        interval: Of an accuracy.
        float_change: Against the float model, in words; empty where there is none.
    """

    label: str
    value: str
    default: str
    change: str
    better: bool | None
    interval: str = ""
    float_value: str = ""
    float_change: str = ""


@dataclass(frozen=True)
class NextStep:
    """A suggestion of what to try next.

    Attributes:
        reason: What was seen, with its number.
        command: What to run, a line each; empty where there is nothing.
    """

    reason: str
    command: str = ""


@dataclass(frozen=True)
class Failure:
    """Trials that ended alike; ``messages`` says how many different ones there were, of which
    ``message`` is the first."""

    outcome: str
    count: int
    trials: tuple[int, ...]
    message: str
    messages: int = 1


@dataclass(frozen=True)
class TaskRow:
    """A tuned task; ``layers`` of the chosen trial run it, ``measurements`` are the schedules whose
    cycles are known."""

    name: str
    default_cycles: int
    cycles: int
    bound_cycles: int
    measurements: int
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """What the cost model says of measured schedules of tasks that it has never seen.

    Attributes:
        chart: Predicted against measured cycles.
        shown, rows, tasks: Schedules on the chart, schedules and tasks that were predicted.
        walk, model: How well the coarse walk alone and the learned model predict.
        unit: That the tasks are of; empty where the target has one alone.
    """

    chart: ScatterChart
    shown: int
    rows: int
    tasks: int
    walk: PredictionQuality
    model: PredictionQuality
    unit: str = ""


@dataclass(frozen=True)
class CompiledPart:
    """Sections that take a compile."""

    gantt: Gantt | None = None
    rooflines: tuple[RooflineChart, ...] = ()
    without_macs: int = 0
    layers: tuple[LayerRow, ...] = ()
    picture: str = ""
    shares: tuple[Share, ...] = ()
    """What the latency is made of."""
    quantized: tuple[QuantizedRow, ...] = ()
    sqnr_samples: int = 0
    alone_db: Mapping[str, float] = field(default_factory=dict)
    """SQNR of the scores with one layer alone in integers, by layer."""
    effects: Effects = field(default_factory=Effects)
    """What each decision and each limit is worth."""
    sources: SourcePart = field(default_factory=SourcePart)
    """Of generated sources."""
    formats: tuple[ChosenFormat, ...] = ()
    """Number format of each operator of the CPU, where the study measured them."""
    launches: int = 0
    """How often the CPU starts a program in one run."""
    joint: bool = False
    """Whether a program of the chosen or of the default compile holds several layers."""
    used_up: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the spaces of tasks that are measured whole, by task."""
    clock: str = ""
    """Where latency was measured by the clock; empty where it was simulated."""


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Attributes:
        name, status, created: Of the study.
        model, target: Names.
        goals, limits: In words.
        outcomes: Trials by outcome.
        ended: The same in words.
        chosen: Its number, ``None`` where nothing is feasible.
        chosen_decisions: What it sets otherwise than the default trial.
        front_trials: Of the front, with the chosen one; the first of them where these are many.
        front_size: How many trials it has.
        is_large: Whether there are too many trials to name the values of each.
        metric_names: Columns of the front's table.
        tiles: Summary.
        fronts, progress: Charts.
        tasks: Tuned ones, those with the most cycles left to gain first.
        failures: By outcome and message.
        closest: Trials nearest to the limits, where nothing is feasible.
        compiled: Of the chosen trial beside the default.
        predictions: Of the cost model of each unit; none where nothing was tuned.
        notes: What is left out and why.
        again: Commands that make the chosen configuration again, from this study.
        search_again: Commands that do the whole search again, in a database of its own.
        search_note: In what the second search may differ from the first.
        labels: Of the metrics.
        metric: Of the accuracy, by name.
        digests, settings: Of the study.
        holdout: Accuracies that nothing was chosen by: the heads, then a row each.
        holdout_samples: That they were measured on.
        gains: What the chosen trial gains in per cent, and warnings.
        next_steps: What to try next.
        versions: Of what the report was made with.
        interrupted: Whether somebody broke its measurements off.
    """

    name: str
    status: str
    created: str
    model: str
    target: str
    goals: tuple[str, ...]
    limits: tuple[str, ...]
    outcomes: Mapping[str, int]
    ended: str
    chosen: int | None
    chosen_decisions: Mapping[str, str]
    front_trials: tuple[OuterTrial, ...]
    front_size: int
    is_large: bool
    metric_names: tuple[str, ...]
    tiles: tuple[Tile, ...]
    fronts: tuple[FrontChart, ...]
    progress: tuple[ProgressChart, ...]
    tasks: tuple[TaskRow, ...]
    failures: tuple[Failure, ...]
    closest: tuple[OuterTrial, ...]
    compiled: CompiledPart
    predictions: tuple[Predictions, ...]
    notes: tuple[str, ...]
    again: tuple[str, ...]
    search_again: tuple[str, ...]
    search_note: str
    labels: Mapping[str, str]
    metric: str
    digests: Mapping[str, str]
    settings: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    holdout: tuple[tuple[str, ...], ...] = ()
    holdout_samples: int = 0
    clock: str = ""
    gains: tuple[str, ...] = ()
    next_steps: tuple[NextStep, ...] = ()
    interrupted: bool = False

    @property
    def many_decisions(self) -> str:
        """The chosen trial's decisions in a line, alike ones together, where they are too many to
        be read one by one; else empty."""
        if len(self.chosen_decisions) <= _READ_ONE_BY_ONE:
            return ""
        return decisions_text(self.chosen_decisions, _READ_ONE_BY_ONE, "below")


def label_of(entry: str, metric: str) -> str:
    """An entry of a trial's metrics with its unit; ``metric`` names its accuracy."""
    name = shown_name(entry, metric)
    return LABELS.get(entry, entry) if name == entry else name.replace("_drop", " drop")


def labels_of(metric: str) -> dict[str, str]:
    """Labels of all entries of a trial's metrics."""
    return {entry: label_of(entry, metric) for entry in LABELS}
