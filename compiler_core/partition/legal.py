"""Placements held against what the compiler can lay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.optimum import Optimum, find_optimum
from compiler_core.quantize.assemble import CPU, assemble
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement
from compiler_core.units.ways import INT8


def misfits(evaluator: Evaluator, placement: Placement) -> dict[int, str]:
    """Groups that the compiler would leave on the CPU beside these neighbours, by the layout rules
    of integers."""
    groups, places = evaluator.groups, evaluator.costs.places
    inside = {
        at: places[place].name
        for at, place in enumerate(placement)
        if places[place].unit != ON_HOST and places[place].number == INT8
    }
    if not inside:  # other number formats have no rules of layout
        return {}
    views = {name for group in groups.groups for name, _ in group.views}
    assignment = {
        node: groups.untuned[node] if node in views else inside.get(group, CPU)
        for node, group in groups.group_of.items()
    }
    skeleton = assemble(groups.graph, assignment, groups.arithmetic)
    return {
        groups.group_of[node]: reason
        for node, reason in skeleton.cpu_reasons.items()
        if groups.group_of[node] in inside
    }


def legal_optimum(
    evaluator: Evaluator,
    pinned: Mapping[int, int],
    starts: Sequence[Placement],
    time_limit_s: float | None,
) -> tuple[Optimum, dict[int, str]]:
    """The optimum of what the compiler can lay out, and the groups that were moved for it."""
    moved: dict[int, str] = {}
    while True:
        optimum = find_optimum(
            evaluator,
            pins={**pinned, **dict.fromkeys(moved, ON_CPU)},
            starts=starts,
            time_limit_s=time_limit_s,
        )
        reasons = misfits(evaluator, optimum.placement)
        fresh = {group: reason for group, reason in reasons.items() if group not in moved}
        if not fresh:
            return optimum, moved
        moved |= fresh
