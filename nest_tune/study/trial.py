"""Outer trials: one scheme and plan with tuned tilings, evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from compiler_core.files.plain import ONLY_WHERE_OTHER
from nest_tune.figures import figure

Point = tuple[int, ...]
"""Index per parameter of the outer space."""


class Outcome(Enum):
    """How a trial ended."""

    COMPLETE = "complete"
    """Measured, all limits hold."""
    CONSTRAINTS = "constraints"
    """Measured, a limit does not hold."""
    INFEASIBLE = "infeasible"
    """A legal question without an answer: something does not fit the target."""
    TIMEOUT = "timeout"
    """Ran longer than a trial may."""
    COMPILE = "compile"
    """The compiler refused it."""
    RUNTIME = "runtime"
    """Something broke while it ran, or its worker died."""
    CORRECTNESS = "correctness"
    """The compiled program breaks a rule of the machine."""

    @property
    def is_measured(self) -> bool:
        """Whether there are metrics."""
        return self in (Outcome.COMPLETE, Outcome.CONSTRAINTS)

    @property
    def is_error(self) -> bool:
        """Whether it says nothing about the configuration's worth."""
        return not self.is_measured and self is not Outcome.INFEASIBLE


@dataclass(frozen=True, repr=False)
class OuterTrial:
    """One finished trial.

    Attributes:
        number: From 0, in the order of proposals.
        point: Indices into the tables of the outer space.
        tuned: Whether its tasks have tuned schedules; not so for trial 0.
        outcome: How it ended.
        metrics: By name; empty where it was not measured.
        accuracy_samples: Samples that its accuracy was measured on.
        hits: Which samples of the subset were right, see
            :class:`nest_tune.study.execution.scoring.Score`.
        subset_accuracy: Accuracy on the subset.
        settled: Whether its accuracy was measured on all evaluation data (or there are none).
        message: Why it is not complete.
        schedules: Digest of the schedules it was measured with.
        scheme: Digest of its quantized graph: equal ones have equal accuracies.
        bound_ms: Its latency if every program reached its lower bound; 0 where there are none.
        wall_s: Time of its work on the runners.
        attributes: What its sampler wants to see again.
        log: Last lines of the worker that it failed on.
        intervals: 95 % intervals of accuracies and of what was measured by the clock, by metric.
        pessimistic: What limits on accuracies are judged by in the place of what was measured, by
            metric, where a risk is limited.
        all_hits: Which of all samples were right, where all were measured.
        fidelity: ``agreement`` and ``sqnr_db`` against the float model, on the samples that its
            accuracy was measured on.
        doubts: Why its latency by the clock is worth less than it might be.
    """

    number: int
    point: Point
    tuned: bool
    outcome: Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)
    accuracy_samples: int = 0
    hits: str = ""
    subset_accuracy: float | None = None
    settled: bool = True
    message: str = ""
    schedules: str = ""
    scheme: str = ""
    bound_ms: float = 0.0
    wall_s: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    pessimistic: Mapping[str, float] = field(default_factory=dict)
    all_hits: str = ""
    fidelity: Mapping[str, float] = field(default_factory=dict)
    doubts: Sequence[str] = field(default=(), metadata={ONLY_WHERE_OTHER: True})

    def __repr__(self) -> str:
        told = {name: figure(value, name) for name, value in self.metrics.items()}
        parts = [f"{name}={text}" for name, text in told.items()] or [self.message]
        return f"<trial {self.number}, {self.outcome.value}: {', '.join(parts)}>"

    @property
    def judged(self) -> Mapping[str, float]:
        """Metrics as limits see them."""
        return {**self.metrics, **self.pessimistic}

    @property
    def is_feasible(self) -> bool:
        """Whether it can be chosen."""
        return self.outcome is Outcome.COMPLETE


@dataclass(frozen=True)
class Proposal:
    """A trial that has not run yet."""

    number: int
    point: Point
    tuned: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)


_IN_WORDS = {
    Outcome.CONSTRAINTS: "beyond a limit",
    Outcome.TIMEOUT: "out of time",
    Outcome.COMPILE: "refused by the compiler",
    Outcome.RUNTIME: "broken off",
    Outcome.CORRECTNESS: "breaking a rule of the machine",
}


def outcomes_text(trials: Sequence[OuterTrial]) -> str:
    """How trials ended, for people: ``11 complete, 1 beyond a limit``."""
    counts = outcome_counts(trials)
    return ", ".join(
        f"{counts[outcome.value]} {_IN_WORDS.get(outcome, outcome.value)}"
        for outcome in Outcome
        if outcome.value in counts
    )


def outcome_counts(trials: Sequence[OuterTrial]) -> dict[str, int]:
    """Number of trials by outcome, only those that occur."""
    counts = Counter(trial.outcome.value for trial in trials)
    return {outcome.value: counts[outcome.value] for outcome in Outcome if counts[outcome.value]}
