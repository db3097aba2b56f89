"""What a study wants: metrics, objectives and limits, and what holds a trial back.

A limit is written ``accuracy_drop<=0.01``; percentages are absolute points of the metric. What is
shown as ``agreement_drop`` may be written so, too: ``accuracy`` and ``accuracy_drop`` stand for
whatever the study measures.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from math import inf, isfinite

from compiler_core.accuracy.metric import METRICS, shown_name
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.sums import float_sum


class TrialMetric(Enum):
    """What is known of a finished trial."""

    LATENCY_MS = "latency_ms"
    NPU_CYCLES = "npu_cycles"
    ENERGY_MJ = "energy_mj"
    SIZE_BYTES = "size_bytes"
    DRAM_PEAK_BYTES = "dram_peak_bytes"
    INSTRUCTIONS = "instructions"
    CYCLES = "cycles"
    FLASH_BYTES = "flash_bytes"
    CONSTANT_BYTES = "constant_bytes"
    RAM_PEAK_BYTES = "ram_peak_bytes"
    ACCURACY = "accuracy"
    ACCURACY_DROP = "accuracy_drop"

    @property
    def needs_evaluation(self) -> bool:
        """Whether it takes evaluation data."""
        return self in (TrialMetric.ACCURACY, TrialMetric.ACCURACY_DROP)


class Direction(Enum):
    """Which way is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """One thing to optimize.

    Attributes:
        metric: Which.
        direction: Which way is better.
        name: Of the metric, as it was written; empty where nobody wrote it.
    """

    metric: TrialMetric
    direction: Direction
    name: str = field(default="", compare=False)

    def loss(self, value: float) -> float:
        """A value to minimize."""
        return value if self.direction is Direction.MINIMIZE else -value


@dataclass(frozen=True)
class Limit:
    """An interval that a metric has to lie in.

    Attributes:
        metric: Which.
        low, high: Both inclusive.
        unit: Of the bounds as they were written: empty, ``%`` or ``dB``; percentages are kept as
            shares.
        name: Of the metric, as it was written; empty where nobody wrote it.
    """

    metric: TrialMetric
    low: float = -inf
    high: float = inf
    unit: str = field(default="", compare=False)
    name: str = field(default="", compare=False)

    def excess(self, value: float) -> float:
        """How far a value lies outside; 0 within, in units of the metric."""
        return max(0.0, self.low - value, value - self.high)

    def slack(self, value: float, scale: float) -> float:
        """At most 0 within, above 0 outside, in multiples of ``scale``: Optuna's constraint."""
        return max(self.low - value, value - self.high) / scale

    @property
    def text(self) -> str:
        """As written in a study file."""
        parts = []
        unit = "dB" if self.unit == "dB" else ""
        if isfinite(self.low):
            parts.append(f">= {_short(self.low)}{unit}")
        if isfinite(self.high):
            parts.append(f"<= {_short(self.high)}{unit}")
        return ", ".join(parts)


def _short(value: float) -> str:
    """A number in as few digits as give it back."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value)


_TERM = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(%|dB)?\s*")
_DIRECTIONS = {
    "min": Direction.MINIMIZE,
    "minimize": Direction.MINIMIZE,
    "max": Direction.MAXIMIZE,
    "maximize": Direction.MAXIMIZE,
}
_NATURAL = {TrialMetric.ACCURACY: Direction.MAXIMIZE}


def _by_name() -> dict[str, TrialMetric]:
    """Metrics by every name under which one is shown."""
    found = {metric.value: metric for metric in TrialMetric}
    for accuracy in METRICS.names():
        with suppress(InputError):  # a plug-in that cannot be loaded hides nothing
            found |= {shown_name(metric.value, accuracy): metric for metric in TrialMetric}
    return found


def parse_metric(text: str, where: str) -> TrialMetric:
    """A metric by name, or by what it is called where a metric of accuracy is chosen.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    known = _by_name()
    if text not in known:
        raise UnknownMetricError(text, where, list(known))
    return known[text]


class UnknownMetricError(InputError):
    """A metric of a name that none has.

    Args:
        text: The name.
        where: It was written.
        names: That are known.
    """

    def __init__(self, text: str, where: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{where}: unknown metric {text!r}; known are {', '.join(names)}",
            hint=did_you_mean(text, names),
        )
        self._text, self._where = text, where

    def among(self, metrics: Collection[TrialMetric]) -> UnknownMetricError:
        """The same where only some are measured."""
        names = [name for name, metric in _by_name().items() if metric in metrics]
        return UnknownMetricError(self._text, self._where, names)


def check_metric_name(name: str, accuracy: str, where: str) -> None:
    """Refuses the name of what is not measured.

    Args:
        name: As written, known to :func:`parse_metric`; empty for none.
        accuracy: What is measured as accuracy; empty where that is not settled yet.
        where: It was written.

    Raises:
        InputError: It is what another metric of accuracy is called.
    """
    metric = _by_name().get(name)
    if not accuracy or metric is None:
        return
    shown = shown_name(metric.value, accuracy)
    if name not in (metric.value, shown):
        asked = name.removesuffix("_drop")
        raise InputError(
            f"{where}: {name} is not measured; the metric is {accuracy}, called {shown}",
            hint=f"--metric {asked}, or {shown} for what is measured",
        )


def parse_direction(text: str, where: str) -> Direction:
    """``min``, ``minimize``, ``max`` or ``maximize``.

    Raises:
        InputError: It reads otherwise.
    """
    if text not in _DIRECTIONS:
        raise InputError(
            f"{where}: {text!r}; allowed are minimize, maximize",
            hint=did_you_mean(text, list(_DIRECTIONS)),
        )
    return _DIRECTIONS[text]


def parse_objective(text: str) -> Objective:
    """``latency_ms:min``.

    Raises:
        InputError: It reads otherwise.
    """
    name, colon, direction = text.partition(":")
    metric = parse_metric(name.strip(), f"--objective {text}")
    natural = _NATURAL.get(metric, Direction.MINIMIZE)
    asked = parse_direction(direction.strip(), f"--objective {text}") if colon else natural
    return Objective(metric, asked, name.strip())


def parse_bounds(metric: TrialMetric, text: str, where: str) -> Limit:
    """``<= 0.01``, ``>= 70%``, ``<= 1dB``, or two with a comma between.

    Raises:
        InputError: It reads otherwise, or no value can satisfy it.
    """
    found = []
    for part in text.split(","):
        match = _TERM.fullmatch(part)
        bound = _number(match[2], match[3] == "%") if match else inf
        if match is None or not isfinite(bound):
            raise InputError(
                f"{where}: {text!r}; '<= NUMBER' or '>= NUMBER' is needed", hint="'<= 0.01'"
            )
        if match[3] and not metric.needs_evaluation:
            raise InputError(f"{where}: {metric.value} has no limits in {match[3]}")
        low, high = (-inf, bound) if match[1] == "<=" else (bound, inf)
        found.append(Limit(metric, low, high, match[3] or ""))
    (limit,) = merged(found)
    return checked(limit, where)


def _number(text: str, is_percentage: bool) -> float:
    """The nearest float to a written number: 0.7 % is exactly what 0.007 is."""
    try:
        written = Decimal(text)
        return float(written.scaleb(-2) if is_percentage else written)
    except (ArithmeticError, ValueError):
        return inf


def parse_constraint(text: str) -> Limit:
    """``accuracy_drop<=0.01``.

    Raises:
        InputError: It reads otherwise, or no value can satisfy it.
    """
    name = re.split("[<>]", text, maxsplit=1)[0]
    where = f"--constraint {text}"
    metric = parse_metric(name.strip(), where)
    return replace(parse_bounds(metric, text[len(name) :], where), name=name.strip())


def checked(limit: Limit, where: str) -> Limit:
    """Refuses a limit that nothing can satisfy.

    Raises:
        InputError: The bounds contradict each other or what the metric can be.
    """
    if limit.low > limit.high:
        raise InputError(
            f"{where}: contradictory: {limit.metric.value} cannot be {limit.text}",
            hint="remove one of the bounds",
        )
    if limit.metric.needs_evaluation:
        return limit
    if limit.high < 0:
        raise InputError(
            f"{where}: contradictory: {limit.metric.value} {limit.text}, and it is never below 0"
        )
    return limit


def merged(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """One limit per metric: the intersection of those given.

    Raises:
        InputError: They contradict one another.
    """
    found: dict[TrialMetric, Limit] = {}
    for limit in limits:
        old = found.get(limit.metric, Limit(limit.metric, unit=limit.unit))
        if old.unit != limit.unit and "dB" in (old.unit, limit.unit):
            raise InputError(f"constraints: {limit.metric.value} has one limit in dB, one without")
        unit = old.unit and limit.unit
        low, high = max(old.low, limit.low), min(old.high, limit.high)
        both = Limit(limit.metric, low, high, unit, old.name or limit.name)
        found[limit.metric] = checked(both, "constraints")
    return tuple(found.values())


Metrics = Mapping[str, float]
"""Metric values of a trial by name."""


def violation(limits: Sequence[Limit], metrics: Metrics, default: Metrics) -> float:
    """Sum of what the limits are exceeded by, each in multiples of its scale; 0 where all hold."""
    return float_sum(
        max(0.0, limit.slack(metrics[limit.metric.value], scale_of(limit, default)))
        for limit in limits
    )


def scale_of(limit: Limit, default: Metrics) -> float:
    """What an excess is divided by, so that limits of different units weigh alike."""
    bounds = [abs(bound) for bound in (limit.low, limit.high) if isfinite(bound)]
    return max([*bounds, abs(default.get(limit.metric.value, 0.0)), 1e-6])


def aims_of(objectives: Sequence[Objective], limits: Sequence[Limit]) -> tuple[TrialMetric, ...]:
    """Costs that count, the most important first: those to be small, then those that have to be."""
    small = [goal.metric for goal in objectives if goal.direction is Direction.MINIMIZE]
    bounded = [limit.metric for limit in limits if isfinite(limit.high)]
    return tuple(m for m in dict.fromkeys([*small, *bounded]) if not m.needs_evaluation)
