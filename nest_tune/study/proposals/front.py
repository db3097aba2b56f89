"""Feasible fronts, and the trials that come closest to one."""

from __future__ import annotations

from collections.abc import Sequence

from nest_tune.study.request.goals import Limit, Objective, violation
from nest_tune.study.trial import OuterTrial


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether losses ``one`` are nowhere worse than ``other`` and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def losses(trial: OuterTrial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Values to minimize."""
    return tuple(o.loss(trial.metrics[o.metric.value]) for o in objectives)


def pareto_front(
    trials: Sequence[OuterTrial], objectives: Sequence[Objective]
) -> tuple[OuterTrial, ...]:
    """Feasible settled trials that none dominates; of equal ones the first. By first objective."""
    candidates = [trial for trial in trials if trial.is_feasible and trial.settled]
    found: list[tuple[tuple[float, ...], OuterTrial]] = []
    for trial in candidates:
        own = losses(trial, objectives)
        if any(dominates(other, own) or other == own for other, _ in found):
            continue
        found = [entry for entry in found if not dominates(own, entry[0])]
        found.append((own, trial))
    return tuple(trial for _, trial in sorted(found, key=lambda e: (e[0], e[1].number)))


def closest(
    trials: Sequence[OuterTrial],
    limits: Sequence[Limit],
    default: OuterTrial | None,
    count: int = 5,
) -> tuple[OuterTrial, ...]:
    """Measured trials that break the limits least."""
    reference = default.metrics if default is not None else {}
    measured = [trial for trial in trials if trial.outcome.is_measured]
    ranked = sorted(measured, key=lambda t: (violation(limits, t.judged, reference), t.number))
    return tuple(ranked[:count])
