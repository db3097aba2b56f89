"""From a model and a target to the best plan: costs, baselines, optimum, and the check against the
compiler's own layout rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import float_macs
from compiler_core.partition.baselines import baselines, best_sequential
from compiler_core.partition.build_costs import build_costs
from compiler_core.partition.costs import CostTable
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.group_graph import Group, GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.partition.joined_optimum import joined_optimum
from compiler_core.partition.layer_shares import Overlaps
from compiler_core.partition.legal import misfits
from compiler_core.partition.optimum import Optimum, find_optimum
from compiler_core.partition.plan import FREE, Plan
from compiler_core.partition.programs import Schedules
from compiler_core.partition.resolve import ResolvedPlan, assignment_of, resolve_plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.quantize.apply import weighted_layers
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.integer_units import needs_plan, target_arithmetic
from compiler_core.targets.places import ON_CPU, ON_HOST, Place, Placement
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import host_costs
from compiler_core.units.facets.programs import programs_of
from compiler_core.units.names import CPU_INT8
from compiler_core.units.numbers import numbers_of
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import FLOAT32, INT8, ways_of

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
        bound_ps: No plan takes less, however layers overlap within programs.
    """

    optimum: Optimum
    evaluation: Evaluation
    baselines: Mapping[str, Evaluation]
    sequential: Evaluation
    left_on_cpu: Mapping[int, str]
    bound_ps: int


def prepare(
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    quantized: QuantizedGraph | None = None,
    joins_layers: bool = False,
    overlaps: Callable[[GroupGraph], Overlaps | None] | None = None,
    packaged: bool = False,
    progress: Progress = lambda _: None,
) -> Evaluator:
    """Groups and costs of a model on a target, ready to evaluate placements.

    Args:
        graph: Simplified.
        target: The machine.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model quantized with everything on the NPU that can run there; else a
            stand-in.
        joins_layers: Whether layers that follow one another are launched together.
        overlaps: What they take of the programs that they are in, of any placement.
        packaged: Whether places are left out that packages cannot be compiled for.
        progress: Told of each program that is measured.

    Raises:
        InputError: The table of measured CPU times that the target names lacks an operator.
    """
    groups = build_groups(graph, target_arithmetic(target))
    table: CostTable = build_costs(
        groups,
        target,
        host_costs().of_target(target, graph),
        schedules=schedules,
        quantized=quantized,
        progress=progress,
    )
    if packaged:
        table = _packaged(table, groups, target)
    known = None if overlaps is None else overlaps(groups)
    joining = [
        machine.has("programs") and programs_of(machine.name).joins_layers
        for machine in (kind_of_machine(unit.machine) for unit in target.units)
    ]
    return Evaluator(groups, table, joins_layers=joins_layers, joining=joining, overlaps=known)


def _packaged(table: CostTable, groups: GroupGraph, target: Target) -> CostTable:
    """A table without places in number formats that no package holds, and without those of units
    whose kind has no programs."""
    kept = {
        at
        for at, place in enumerate(table.places.all)
        if place.unit == ON_HOST
        or (
            kind_of_machine(target.units[place.unit].machine).has("programs")
            and (place.number == INT8 or place.number == _numbers(target, place))
        )
    }
    found = []
    for group, cost in zip(groups.groups, table.groups, strict=True):
        own = kept - _unsupported(groups, group, target)
        at = {number: there for number, there in cost.at.items() if number in own}
        found.append(replace(cost, at=at))
    return replace(table, groups=tuple(found))


def _numbers(target: Target, place: Place) -> str | None:
    """The number format of a unit's own in which parts of packages run; ``None`` for none."""
    machine = target.units[place.unit].machine
    known = kind_of_machine(machine).has("numbers")
    return ways_of(machine).formats(machine)[0] if known else None


def _unsupported(groups: GroupGraph, group: Group, target: Target) -> set[int]:
    """Places in numbers of a unit's own where a package cannot run a group."""
    views = {name for name, _ in group.views}
    nodes = groups.graph.named({*group.nodes} - views)
    found = set()
    for at, place in enumerate(target.places.all):
        if place.unit == ON_HOST or place.number == INT8 or _numbers(target, place) is None:
            continue
        numbers = numbers_of(target.units[place.unit].kind)
        if any(numbers.unsupported(groups.graph, node) is not None for node in nodes):
            found.add(at)
    return found


def untuned(evaluator: Evaluator) -> Placement:
    """The placement of a compile without a plan: everything on the first unit that can run it; with
    several cores, what is faster across them is cut, where that makes the model faster.

    Where units hold weights with different precision, where a layer runs decides what it loses:
    then it is the fastest placement in which no layer has its weights on a unit of fewer bits.
    """
    first = on_first_units(evaluator)
    undamaging = _undamaging_choices(evaluator)
    if undamaging is None:
        return first
    allowed, moved = evaluator.narrowed(undamaging), dict[int, int]()
    starts = [first]
    if allowed.joins_layers:  # a search may miss what is best; launches together lose nothing
        starts.append(find_optimum(allowed.apart(), starts=starts).placement)
    while True:
        pinned = [tuple(moved.get(g, at) for g, at in enumerate(start)) for start in starts]
        found = find_optimum(allowed, pins=moved, starts=pinned).placement
        fresh = misfits(evaluator, found).keys() - moved.keys()
        if not fresh:
            return min((found, first), key=evaluator.latency_ps)
        moved |= dict.fromkeys(fresh, ON_CPU)


def _undamaging_choices(evaluator: Evaluator) -> tuple[tuple[int, ...], ...] | None:
    """Places of each group but those on units that hold its weights with fewer bits than others;
    ``None`` where all units hold them alike."""
    groups, places = evaluator.groups, evaluator.costs.places
    levels = {
        name: own.traits.weight_levels for name, own in unit_arithmetics(groups.arithmetic).units
    }
    most = max(levels.values(), default=0)
    fewer = {at for at, p in enumerate(places.all) if levels.get(p.name, most) < most}
    if not fewer:
        return None
    weighted = {groups.group_of[name] for name in weighted_layers(groups.graph)}
    return tuple(
        tuple(at for at in own if group not in weighted or at not in fewer)
        for group, own in enumerate(evaluator.choices)
    )


def on_first_units(evaluator: Evaluator) -> Placement:
    """Everything on the first unit that can run it."""
    assignment = default_assignment(evaluator.groups.graph, arithmetic=evaluator.groups.arithmetic)
    whole = tuple(
        _default_place(evaluator, group, assignment[group.name])
        for group in evaluator.groups.groups
    )
    found = [whole]
    for joined in (False, True):  # a whole operator may pay for its launch, or not
        launches = [
            evaluator.least_launch_ps(place) if joined else evaluator.costs.launch_ps
            for place in whole
        ]
        cut = (
            _cut_if_it_pays(evaluator, group, place, launches[group])
            for group, place in enumerate(whole)
        )
        found.insert(0, tuple(cut))
    different = list(dict.fromkeys(found))
    return whole if len(different) == 1 else min(different, key=evaluator.latency_ps)


def _default_place(evaluator: Evaluator, group: Group, unit: str) -> int:
    """The CPU, in float or on integers, or the whole place of the first unit that can run it."""
    choices = evaluator.choices[group.index]
    if unit == CPU:
        if group.npu_reason is None:  # it could, beside other neighbours
            return ON_CPU
        places = evaluator.costs.places
        numbers = (at for at in choices if places[at].number not in (INT8, FLOAT32))
        # Moving what sums no products costs more than computing it.
        graph = evaluator.groups.graph
        sums = any(float_macs(graph, node) for node in evaluator.groups.computing(group.index))
        return next(numbers, ON_CPU) if sums else ON_CPU
    on_host = unit == CPU_INT8
    fitting = (
        at for at in choices if at != ON_CPU and (evaluator.unit_of[at] == ON_HOST) == on_host
    )
    return next(fitting, ON_CPU)


def _cut_if_it_pays(evaluator: Evaluator, group: int, place: int, whole_launch_ps: int) -> int:
    """The fastest way of cutting on the same unit, if it is faster than the whole with a launch of
    so much."""
    cost, launch = evaluator.costs.groups[group], evaluator.costs.launch_ps
    unit, form = evaluator.unit_of[place], evaluator.form_of[place]
    if unit == ON_HOST or not cost.at[place].programs:
        return place
    others = [
        at
        for at in evaluator.choices[group]
        if evaluator.unit_of[at] == unit and evaluator.form_of[at] == form
    ]
    return min(
        (place, *others),
        key=lambda at: cost.at[at].busy_ps(whole_launch_ps if at == place else launch),
    )


def default_plan(
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    joins_layers: bool = False,
    progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Unit of every node of a compile without a plan: what a configuration holds."""
    if not needs_plan(target):
        known = target_arithmetic(target)
        return default_assignment(graph, cores=target.npu_cores, arithmetic=known)
    evaluator = prepare(
        graph,
        target,
        schedules=schedules,
        joins_layers=joins_layers,
        packaged=True,
        progress=progress,
    )
    found, first = untuned(evaluator), on_first_units(evaluator)
    if found != first:
        own, other = (evaluator.latency_ps(placement) / 1e9 for placement in (found, first))
        progress(
            f"no plan: the fastest without a loss of bits takes {own:.3f} ms by the cost tables, "
            f"{other:.3f} with everything on the first unit that can run it"
        )
    return assignment_of(found, evaluator.groups, target.places)


def find_best(
    evaluator: Evaluator,
    *,
    pins: Mapping[int, int] | None = None,
    time_limit_s: float | None = None,
) -> BestPlan:
    """The optimum, never worse than a baseline, of what the compiler can lay out.

    Args:
        evaluator: Model and costs.
        pins: Groups whose place is given.
        time_limit_s: Ends the search before its budget is spent.
    """
    pinned = dict(pins or {})
    others = baselines(evaluator, pinned)
    others["untuned"] = tuple(
        pinned.get(group, place) for group, place in enumerate(untuned(evaluator))
    )
    sequential = best_sequential(evaluator, pinned)
    starts = (*others.values(), sequential)
    found = joined_optimum(evaluator, pinned, starts, time_limit_s)
    return BestPlan(
        found.optimum,
        found.evaluation,
        {name: evaluator.evaluate(placement) for name, placement in others.items()},
        evaluator.evaluate(sequential),
        found.moved,
        found.bound_ps,
    )


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
    evaluator: Evaluator, resolved: ResolvedPlan, *, time_limit_s: float | None = None
) -> Placement:
    """A placement with every free group placed as well as can be.

    Raises:
        InputError: A group cannot run at the place where it is pinned.
    """
    places = evaluator.costs.places
    for group, number in resolved.pins.items():
        place, at = places[number], evaluator.costs.groups[group].at
        if number == ON_CPU or number in at:
            continue
        name = evaluator.groups.groups[group].name
        reason = evaluator.costs.groups[group].reasons.get(place.unit)
        own = [other for other in places.of_unit(place.unit) if other in at]
        if reason is None and place.is_cut:
            cores = evaluator.costs.cores_at(number)
            reason = f"it cannot be cut that way across the {cores} cores"
            own.sort(key=lambda other: _by_way(places[other]))
        nearest = places[next(iter(own or at), ON_CPU)].name
        raise InputError(
            f"plan: group {name!r} is placed on {place.name!r}: {reason}",
            hint=f"the nearest legal plan: {name} = {nearest}",
        )
    if len(resolved.pins) == len(evaluator.choices):
        return tuple(resolved.pins[group] for group in range(len(evaluator.choices)))
    return find_best(evaluator, pins=resolved.pins, time_limit_s=time_limit_s).optimum.placement


def _by_way(place: Place) -> tuple[bool, bool]:
    """Ways of cutting along one axis first, then others; whole operators before bound ones."""
    return not place.is_cut, place.is_cut == place.way.is_searched


@dataclass(frozen=True)
class PlannedNodes:
    """A plan, node by node.

    Attributes:
        units: Place of every node.
        order: Nodes of highest priority first; empty where the plan says none.
    """

    units: Mapping[str, str]
    order: tuple[str, ...]


def planned_assignment(
    plan: Plan,
    graph: Graph,
    target: Target,
    *,
    schedules: Schedules | None = None,
    joins_layers: bool = False,
    progress: Progress = lambda _: None,
) -> PlannedNodes:
    """Unit of every node by a plan and their order: what a configuration holds. Free groups are
    placed as well as can be.

    Raises:
        InputError: The plan does not fit the model.
    """
    own = {node.name for node in graph.nodes}
    shared = without_shares(plan, graph, target_arithmetic(target))
    plan, graph = shared.plan, shared.graph
    groups = build_groups(graph, target_arithmetic(target))
    resolved = resolve_plan(plan, groups, target.places)
    order = tuple(
        node for group in resolved.order or () for node in groups.groups[group].nodes if node in own
    )
    if len(resolved.pins) < len(groups.groups):
        named = sum(unit != FREE for unit in plan.units.values())
        progress(f"plan: {named} nodes named, searching the best place for the others")
        evaluator = prepare(
            graph, target, schedules=schedules, joins_layers=joins_layers, packaged=True
        )
        placement = complete(evaluator, resolved)
    else:
        placement = tuple(resolved.pins[group] for group in range(len(groups.groups)))
    units = shared.whole(assignment_of(placement, groups, target.places))
    return PlannedNodes(units, order)
