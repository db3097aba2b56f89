"""What a study wants: metrics, objectives and limits, and what holds a trial back.

A limit is written ``accuracy_drop<=0.01``; percentages are absolute points of the metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf, isfinite

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean

LABELLED = ("top1", "top5")
"""Metrics of accuracy that compare with labels."""

COMPARING = ("agreement", "sqnr_db", "cosine")
"""Metrics of accuracy that compare with the float model."""

ACCURACIES = LABELLED + COMPARING


class Metric(Enum):
    """What is known of a finished trial."""

    LATENCY_MS = "latency_ms"
    NPU_CYCLES = "npu_cycles"
    ENERGY_MJ = "energy_mj"
    SIZE_BYTES = "size_bytes"
    DRAM_PEAK_BYTES = "dram_peak_bytes"
    ACCURACY = "accuracy"
    ACCURACY_DROP = "accuracy_drop"

    @property
    def needs_evaluation(self) -> bool:
        """Whether it takes evaluation data."""
        return self in (Metric.ACCURACY, Metric.ACCURACY_DROP)


class Direction(Enum):
    """Which way is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """One thing to optimize."""

    metric: Metric
    direction: Direction

    def loss(self, value: float) -> float:
        """A value to minimize."""
        return value if self.direction is Direction.MINIMIZE else -value


@dataclass(frozen=True)
class Limit:
    """An interval that a metric has to lie in.

    Attributes:
        metric: Which.
        low, high: Both inclusive.
    """

    metric: Metric
    low: float = -inf
    high: float = inf

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
        if isfinite(self.low):
            parts.append(f">= {self.low:g}")
        if isfinite(self.high):
            parts.append(f"<= {self.high:g}")
        return ", ".join(parts)


_TERM = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(%?)\s*")
_DIRECTIONS = {
    "min": Direction.MINIMIZE,
    "minimize": Direction.MINIMIZE,
    "max": Direction.MAXIMIZE,
    "maximize": Direction.MAXIMIZE,
}
_NATURAL = {Metric.ACCURACY: Direction.MAXIMIZE}


def parse_metric(text: str, where: str) -> Metric:
    """A metric by name.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    names = [metric.value for metric in Metric]
    if text not in names:
        raise InputError(
            f"{where}: unknown metric {text!r}; known are {', '.join(names)}",
            hint=did_you_mean(text, names),
        )
    return Metric(text)


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
    if not colon:
        return Objective(metric, _NATURAL.get(metric, Direction.MINIMIZE))
    return Objective(metric, parse_direction(direction.strip(), f"--objective {text}"))


def parse_bounds(metric: Metric, text: str, where: str) -> Limit:
    """``<= 0.01``, ``>= 70%`` or both with a comma between.

    Raises:
        InputError: It reads otherwise, or no value can satisfy it.
    """
    low, high = -inf, inf
    for part in text.split(","):
        match = _TERM.fullmatch(part)
        try:
            bound = float(match[2]) if match else inf
        except ValueError:
            bound = inf
        if match is None or not isfinite(bound):
            raise InputError(
                f"{where}: {text!r}; '<= NUMBER' or '>= NUMBER' is needed", hint="'<= 0.01'"
            )
        bound = bound / 100 if match[3] else bound
        if match[1] == "<=":
            high = min(high, bound)
        else:
            low = max(low, bound)
    return checked(Limit(metric, low, high), where)


def parse_constraint(text: str) -> Limit:
    """``accuracy_drop<=0.01``.

    Raises:
        InputError: It reads otherwise, or no value can satisfy it.
    """
    name = re.split("[<>]", text, maxsplit=1)[0]
    where = f"--constraint {text}"
    metric = parse_metric(name.strip(), where)
    return parse_bounds(metric, text[len(name) :], where)


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
    found: dict[Metric, Limit] = {}
    for limit in limits:
        old = found.get(limit.metric, Limit(limit.metric))
        both = Limit(limit.metric, max(old.low, limit.low), min(old.high, limit.high))
        found[limit.metric] = checked(both, "constraints")
    return tuple(found.values())


Metrics = Mapping[str, float]
"""Metric values of a trial by name."""


def violation(limits: Sequence[Limit], metrics: Metrics, default: Metrics) -> float:
    """Sum of what the limits are exceeded by, each in multiples of its scale; 0 where all hold."""
    return sum(
        max(0.0, limit.slack(metrics[limit.metric.value], scale_of(limit, default)))
        for limit in limits
    )


def scale_of(limit: Limit, default: Metrics) -> float:
    """What an excess is divided by, so that limits of different units weigh alike."""
    bounds = [abs(bound) for bound in (limit.low, limit.high) if isfinite(bound)]
    return max([*bounds, abs(default.get(limit.metric.value, 0.0)), 1e-6])
