"""Trials that have been proposed and have not ended yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_core.accuracy.score import Score
from compiler_core.tensor.digest import digest
from nest_tune.study.proposals.evidence import Evidence
from nest_tune.study.trial import Outcome, OuterTrial, Proposal


@dataclass
class TrialInFlight:
    """A trial from its proposal to its end, and what is known of it by now.

    Attributes:
        saw: Numbers of the trials that its proposal saw.
    """

    proposal: Proposal
    decisions: Mapping[str, Any]
    saw: tuple[int, ...]
    scheme: str = ""
    schedules: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    subset: Score | None = None
    bound_ms: float = 0.0
    wall_s: float = 0.0

    def finished(
        self,
        outcome: Outcome,
        metrics: Mapping[str, float],
        message: str,
        full: Score | None,
        known: Score | None,
        evidence: Evidence,
        log: str = "",
    ) -> OuterTrial:
        """The trial as it is stored.

        Args:
            outcome: How it ended.
            metrics: What was measured.
            message: What was wrong.
            full: Accuracy on all samples, where that was measured.
            known: Accuracy on most of the samples that were measured.
            evidence: What samples tell of other samples.
            log: Of what failed.
        """
        proposal = self.proposal
        return OuterTrial(
            proposal.number,
            proposal.point,
            proposal.tuned,
            outcome,
            dict(metrics),
            0 if known is None else known.samples,
            self.subset.hits if self.subset else "",
            self.subset.value if self.subset else None,
            known is full,
            message,
            digest(dict(self.schedules)) if self.schedules else "",
            self.scheme,
            self.bound_ms,
            self.wall_s,
            dict(proposal.attributes),
            log,
            {**self.intervals, **evidence.intervals},
            evidence.pessimistic,
            full.hits if full else "",
            evidence.fidelity,
            self.doubts,
        )
