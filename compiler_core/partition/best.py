"""From a model and a target to the best plan: costs, baselines, optimum, and the check against the
compiler's own layout rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.partition.baselines import baselines, best_sequential
from compiler_core.partition.costs import CostTable, build_costs
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.groups import GroupGraph, build_groups
from compiler_core.partition.optimum import DEFAULT_TIME_LIMIT_S, Optimum, find_optimum
from compiler_core.partition.placement import ON_CPU, ON_NPU, SLICED, SLICED_WAYS, Placement
from compiler_core.partition.plan import FREE, Plan
from compiler_core.partition.programs import Schedules
from compiler_core.partition.resolve import (
    ResolvedPlan,
    assignment_of,
    resolve_plan,
    unit_name,
)
from compiler_core.quantize.arithmetic import arithmetic_of
from compiler_core.quantize.assemble import CPU, assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.target import Target
from compiler_core.units.cpu.cost_table import target_costs
from compiler_core.units.names import NPU

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BestPlan:
    """The optimum of the cost tables beside what others would do.

    Attributes:
        optimum: Placement, latency and bound.
        evaluation: The optimum in full.
        baselines: Simulated, by name.
        sequential: The placement of least total time without overlap, simulated without overlap.
        left_on_cpu: Groups that the compiler's layout rules moved to the CPU, with the reasons.
    """

    optimum: Optimum
    evaluation: Evaluation
    baselines: Mapping[str, Evaluation]
    sequential: Evaluation
    left_on_cpu: Mapping[int, str]


def prepare(
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    quantized: QuantizedGraph | None = None,
    progress: Progress = lambda _: None,
) -> Evaluator:
    """Groups and costs of a model on a target, ready to evaluate placements.

    Args:
        graph: Simplified.
        target: The machine.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model quantized with everything on the NPU that can run there; else a
            stand-in.
        progress: Told of each program that is measured.

    Raises:
        InputError: The table of measured CPU times that the target names lacks an operator.
    """
    groups = build_groups(graph, arithmetic_of(target.npu))
    table: CostTable = build_costs(
        groups,
        target,
        target_costs(target, graph),
        schedules=schedules,
        quantized=quantized,
        progress=progress,
    )
    return Evaluator(groups, table)


def untuned(evaluator: Evaluator) -> Placement:
    """The placement of a compile without a plan: everything on the NPU that can run there; with
    several cores, what is faster across them is sliced, where that makes the model faster."""
    assignment = default_assignment(evaluator.groups.graph, arithmetic=evaluator.groups.arithmetic)
    whole = tuple(
        ON_NPU if group.npu_reason is None and assignment[group.name] != CPU else ON_CPU
        for group in evaluator.groups.groups
    )
    if evaluator.costs.cores == 1:
        return whole
    sliced = tuple(
        SLICED if unit == ON_NPU and _slicing_pays(evaluator, group) else unit
        for group, unit in enumerate(whole)
    )
    return min(sliced, whole, key=evaluator.latency_ps)


def _slicing_pays(evaluator: Evaluator, group: int) -> bool:
    cost, launch = evaluator.costs.groups[group], evaluator.costs.launch_ps
    if cost.sliced is None or not cost.programs:
        return False
    alone = sum(program.run_ps + launch for program in cost.programs)
    return cost.sliced.run_ps + launch * cost.sliced.parts < alone


def default_plan(
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Unit of every node of a compile without a plan: what a configuration holds."""
    if target.npu_cores <= 1:
        known = arithmetic_of(target.npu)
        return default_assignment(graph, cores=target.npu_cores, arithmetic=known)
    evaluator = prepare(graph, target, schedules=schedules, progress=progress)
    return assignment_of(untuned(evaluator), evaluator.groups)


def find_best(
    evaluator: Evaluator,
    *,
    pins: Mapping[int, int] | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> BestPlan:
    """The optimum, never worse than a baseline, of what the compiler can lay out.

    Args:
        evaluator: Model and costs.
        pins: Groups whose unit is given.
        time_limit_s: For the search.
    """
    pinned = dict(pins or {})
    others = baselines(evaluator, pinned)
    others["untuned"] = tuple(
        pinned.get(group, unit) for group, unit in enumerate(untuned(evaluator))
    )
    sequential = best_sequential(evaluator, pinned)
    moved: dict[int, str] = {}
    while True:
        optimum = find_optimum(
            evaluator,
            pins={**pinned, **dict.fromkeys(moved, ON_CPU)},
            starts=(*others.values(), sequential),
            time_limit_s=time_limit_s,
        )
        reasons = misfits(evaluator.groups, optimum.placement)
        fresh = {group: reason for group, reason in reasons.items() if group not in moved}
        if not fresh:
            break
        moved |= fresh
    return BestPlan(
        optimum,
        evaluator.evaluate(optimum.placement),
        {name: evaluator.evaluate(placement) for name, placement in others.items()},
        evaluator.evaluate(sequential),
        moved,
    )


def misfits(groups: GroupGraph, placement: Placement) -> dict[int, str]:
    """Groups on the NPU that the compiler would leave on the CPU beside these neighbours."""
    skeleton = assemble(groups.graph, assignment_of(placement, groups), groups.arithmetic)
    return {
        groups.group_of[node]: reason
        for node, reason in skeleton.cpu_reasons.items()
        if placement[groups.group_of[node]] != ON_CPU
    }


def check_subjects(plan: Plan, model: Subject, target: Subject) -> None:
    """Refuses a plan that was made for another model or target.

    Raises:
        InputError: A digest of the plan differs.
    """
    for kind, made_for, given in (
        ("model", plan.model, model),
        ("target", plan.target, target),
    ):
        if made_for.digest and made_for.digest != given.digest:
            raise InputError(
                f"the plan is for {kind} {made_for.name!r} with digest {made_for.digest[:16]}…; "
                f"{given.name!r} has {given.digest[:16]}…",
                hint=f"plan for this {kind} again, or remove digest from the plan's [{kind}]",
            )


def complete(
    evaluator: Evaluator, resolved: ResolvedPlan, *, time_limit_s: float = DEFAULT_TIME_LIMIT_S
) -> Placement:
    """A placement with every free group placed as well as can be.

    Raises:
        InputError: A group is to be sliced that cannot be.
    """
    for group, unit in resolved.pins.items():
        if unit in SLICED_WAYS and evaluator.costs.groups[group].sliced_as(unit) is None:
            name = evaluator.groups.groups[group].name
            other = [unit_name(way) for way in evaluator.costs.groups[group].slices]
            raise InputError(
                f"plan: group {name!r} is placed on {unit_name(unit)!r}: it cannot be cut that way "
                f"across the {evaluator.costs.cores} cores",
                hint=f"the nearest legal plan: {name} = {(*other, NPU)[0]}",
            )
    if len(resolved.pins) == len(evaluator.units):
        return tuple(resolved.pins[group] for group in range(len(evaluator.units)))
    return find_best(evaluator, pins=resolved.pins, time_limit_s=time_limit_s).optimum.placement


def planned_assignment(
    plan: Plan,
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Unit of every node by a plan: what a configuration holds. Free groups are placed as well as
    can be. A configuration holds no order: the longest remaining way goes first, as without one.

    Raises:
        InputError: The plan does not fit the model.
    """
    groups = build_groups(graph, arithmetic_of(target.npu))
    resolved = resolve_plan(plan, groups, target.npu_cores)
    if resolved.order is not None:
        progress("plan: its order counts in plan show and plan check; packages do not hold it")
    if len(resolved.pins) < len(groups.groups):
        named = sum(unit != FREE for unit in plan.units.values())
        progress(f"plan: {named} nodes named, searching the best place for the others")
        evaluator = prepare(graph, target, schedules=schedules)
        return assignment_of(complete(evaluator, resolved), groups)
    placement = tuple(resolved.pins[group] for group in range(len(groups.groups)))
    return assignment_of(placement, groups)
