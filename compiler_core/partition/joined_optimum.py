"""The best plan where layers are launched together and overlap.

How far layers overlap is known for plans that are linked. Their borders say what the same borders
save elsewhere (:mod:`compiler_core.partition.savings`), so the optimum is searched with these, is
linked itself, and searched again with what that says, until it takes what it was expected to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.legal import legal_optimum, misfits
from compiler_core.partition.optimum import Optimum, bound_ps
from compiler_core.partition.savings import at_least, with_savings
from compiler_core.targets.places import ON_CPU, Placement

_LINKED_PLANS = 4
"""Optima that are linked before one of them is taken."""
_MOST_GROUPS = 1024
"""Of longer models, to link a plan takes seconds: their optimum is that of the cost tables, and
only what is compared in the end is linked."""


@dataclass(frozen=True)
class JoinedOptimum:
    """The best plan found.

    Attributes:
        optimum: By the cost tables and what is known of borders; its latency is that of the plan
            as it is linked.
        evaluation: Of its placement, linked where that can be.
        moved: Groups that the compiler would leave on the CPU, with the reasons.
        bound_ps: No plan takes less, however its layers overlap.
    """

    optimum: Optimum
    evaluation: Evaluation
    moved: Mapping[int, str]
    bound_ps: int


def joined_optimum(
    evaluator: Evaluator,
    pins: Mapping[int, int],
    starts: Iterable[Placement],
    time_limit_s: float | None = None,
) -> JoinedOptimum:
    """The optimum, never worse than what it starts from.

    Args:
        evaluator: Costs, and how to link plans; where it cannot, costs alone count.
        pins: Groups whose place is given.
        starts: Placements to compare with.
        time_limit_s: Ends each search before its budget is spent.
    """
    seen = dict.fromkeys(starts)
    learns = len(evaluator.costs.groups) <= _MOST_GROUPS
    counted = with_savings(evaluator, seen) if learns else evaluator
    optimum, moved = legal_optimum(counted, pins, tuple(seen), time_limit_s)
    if evaluator.overlaps is None or not evaluator.joins_layers:
        evaluation = evaluator.evaluate(optimum.placement)
        return JoinedOptimum(optimum, evaluation, moved, optimum.bound_ps)
    for _ in range(_LINKED_PLANS if learns else 0):
        seen[optimum.placement] = None
        if optimum.latency_ps == evaluator.evaluate(optimum.placement).latency_ps:
            break
        counted = with_savings(counted, (optimum.placement,))
        optimum, moved = legal_optimum(counted, pins, tuple(seen), time_limit_s)
    legal = [p for p in seen if p != optimum.placement and not misfits(evaluator, p)]
    linked = map(evaluator.evaluate, (optimum.placement, *legal))
    evaluation = min(linked, key=lambda item: item.latency_ps)
    time, bound = evaluation.latency_ps, min(optimum.bound_ps, evaluation.latency_ps)
    optimum = replace(optimum, placement=evaluation.placement, latency_ps=time, bound_ps=bound)
    bound = bound_ps(at_least(evaluator), {**pins, **dict.fromkeys(moved, ON_CPU)})
    return JoinedOptimum(optimum, evaluation, moved, min(bound, time))
