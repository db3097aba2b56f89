"""What samplers of configurations are asked: the search problem, and the seam of proposers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from compiler_core.files.plain import to_plain
from nest_tune.study.domain import Choice, Domain
from nest_tune.study.request.goals import Limit, Objective, TrialMetric, aims_of
from nest_tune.study.trial import Point
from search_spaces.joint import JointSpace

ATTEMPTS = 6
"""Times that a sampler is asked for a point that nobody has tried."""

PREDICTED = "predicted"
"""Attribute of a trial: what the model expected of its objectives, by metric."""

Asked = tuple[Point, Mapping[str, Any]]
"""A point, and what its sampler wants to see again."""


@dataclass(frozen=True)
class SearchProblem:
    """What proposals depend on beside the trials.

    Attributes:
        space: Where to search.
        objectives, limits: What for.
        sampler: Name, see :mod:`nest_tune.samplers.registry`.
        seed: Of the study.
        tuned: Whether trials have tuned schedules: then the default point is tried a second time,
            tuned.
        risk: Of limits on accuracy, where it is limited.
        arguments: Of the sampler.
        memory: What samplers keep from one proposal to the next, so that it need not be made again;
            it never changes what they propose.
    """

    space: JointSpace
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    sampler: str
    seed: int
    tuned: bool
    risk: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def cost(self) -> TrialMetric:
        """The first cost that is to be small; the latency where there is none."""
        aims = aims_of(self.objectives, self.limits)
        return aims[0] if aims else TrialMetric.LATENCY_MS

    def __repr__(self) -> str:
        sought = ", ".join(
            f"{goal.direction.value} {goal.name or goal.metric.value}" for goal in self.objectives
        )
        return f"SearchProblem({sought}; {self.space!r})"

    @property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """What each decision may be, by name: as trials of Optuna's show it."""
        domain = self._domain
        rows = zip(domain.names, domain.choices, self.space.admitted, strict=True)
        return {name: tuple(found[i] for i in indices) for name, found, indices in rows}

    def decisions(self, point: Point) -> dict[str, Choice]:
        """A point by the names and values of its decisions: what ``study.enqueue_trial`` takes."""
        return self._domain.params(point)

    @property
    def _domain(self) -> Domain:
        return Domain([(p.name, to_plain(p.values)) for p in self.space.parameters])

    def price(self, point: Point) -> float | None:
        """What the parts of the space tell of :attr:`cost`; ``None`` where they cannot."""
        return self.space.price(point, self.cost.value)


class Proposer(Protocol):
    """Chooses the configuration of a trial, from what that may know."""

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        """A legal point that is not in ``seen``; ``None`` where it finds none.

        Args:
            number: Of the trial; its random stream derives from it, see :func:`stream_seed`.
            seen: Points of all earlier proposals.
        """
        ...


def stream_seed(seed: int, number: int, attempt: int = 0) -> int:
    """Seed of one trial's random stream."""
    return int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])
