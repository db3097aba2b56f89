"""Plans against a model: names, legality, order; and back from placements to plans.

A plan that breaks a rule is answered with every reason and with the nearest legal plan: the same
one, with the fewest groups moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.partition.group_graph import OUTSIDE, Group, GroupGraph
from compiler_core.partition.plan import FREE, Plan
from compiler_core.targets.places import Placement, Places
from compiler_core.units.names import CPU, CPU_INT8
from compiler_core.units.ways import INT8

_SHOWN = 3


@dataclass(frozen=True)
class IllegalPlace:
    """A group that a plan places where it cannot run.

    Attributes:
        group: Its index.
        asked: Unit, or units where a fused group is split.
        reason: Why not.
        instead: Unit in the nearest legal plan.
    """

    group: int
    asked: tuple[str, ...]
    reason: str
    instead: str


class IllegalPlanError(InputError):
    """A plan that places groups where they cannot run.

    Attributes:
        problems: Every such group.
        nearest: The legal plan with the fewest changes.
    """

    def __init__(
        self, problems: tuple[IllegalPlace, ...], nearest: Plan, groups: GroupGraph
    ) -> None:
        shown = [_sentence(groups.groups[p.group], p) for p in problems[:_SHOWN]]
        more = len(problems) - len(shown)
        super().__init__(
            " ".join(shown) + (f" And {more} more." if more else ""),
            hint="the nearest legal plan: "
            + ", ".join(f"{groups.groups[p.group].name} = {p.instead}" for p in problems[:_SHOWN])
            + (", …" if more else "")
            + "; nest-tune plan check MODEL --plan FILE --fix OUT writes it",
        )
        self.problems = problems
        self.nearest = nearest


def _sentence(group: Group, problem: IllegalPlace) -> str:
    asked = " and ".join(map(repr, problem.asked))
    return f"plan: group {group.name!r} is placed on {asked}: {problem.reason}"


@dataclass(frozen=True)
class ResolvedPlan:
    """A legal plan against a model.

    Attributes:
        pins: Number of the place of each group that the plan places; the rest is free.
        order: Groups by priority, or ``None``.
    """

    pins: Mapping[int, int]
    order: tuple[int, ...] | None


def resolve_plan(plan: Plan, groups: GroupGraph, places: Places) -> ResolvedPlan:
    """Checks a plan against a model.

    Args:
        plan: The plan.
        groups: The model.
        places: Of the target.

    Raises:
        InputError: It names an unknown node or unit, contradicts itself, or its order or segments
            need something before it is there.
        IllegalPlanError: A group cannot run where it is placed, or a fused group is split.
    """
    allowed = (*places.names, FREE)
    asked = _asked(plan, groups, allowed)
    problems: list[IllegalPlace] = []
    pins: dict[int, int] = {}
    for group in groups.groups:
        units = asked.get(group.index, {})
        found = tuple(dict.fromkeys(units.values()))
        if not found:
            found = () if plan.default == FREE else (_possible(group, plan.default),)
        problem = _problem(group, found, units, places)
        if problem is not None:
            problems.append(problem)
        elif found and found[0] != FREE:
            pins[group.index] = places.numbers[found[0]]
    if problems:
        raise IllegalPlanError(tuple(problems), _nearest(plan, groups, problems), groups)
    _check_segments(plan, groups)
    return ResolvedPlan(pins, _order(plan, groups))


def _possible(group: Group, default: str) -> str:
    """The default unit asks for what fits: the rest stays on the CPU."""
    return CPU if group.npu_reason is not None else default


def _asked(plan: Plan, groups: GroupGraph, allowed: tuple[str, ...]) -> dict[int, dict[str, str]]:
    """What the plan says of each node, by group; of views only where they are all that is said."""
    named: dict[str, str] = {}
    entries = [*plan.units.items()]
    entries += [(node, part.unit) for part in plan.segments for node in part.nodes]
    entries.append(("", plan.default))
    for node, unit in entries:
        if unit not in allowed:
            raise InputError(
                f"plan: {node or 'default'} = {unit!r}; units of this target are "
                f"{', '.join(allowed)}",
                hint=did_you_mean(unit, allowed),
            )
        if not node:
            continue
        _known(node, groups, "units")
        if named.setdefault(node, unit) != unit:
            raise InputError(f"plan: node {node!r} is placed on {named[node]!r} and on {unit!r}")
    asked: dict[int, dict[str, str]] = {}
    for node, unit in named.items():
        asked.setdefault(groups.group_of[node], {})[node] = unit
    for group, units in asked.items():
        views = {name for name, _ in groups.groups[group].views}
        computing = {node: unit for node, unit in units.items() if node not in views}
        asked[group] = computing or units
    return asked


def _known(node: str, groups: GroupGraph, where: str) -> int:
    if node not in groups.group_of:
        near = get_close_matches(node, list(groups.group_of), 1)
        raise InputError(
            f"plan: {where}: the model has no node {node!r}"
            + (f"; the nearest is {near[0]!r}" if near else ""),
            hint="nest-tune plan show MODEL lists groups and nodes",
        )
    return groups.group_of[node]


def _problem(
    group: Group, found: tuple[str, ...], units: Mapping[str, str], places: Places
) -> IllegalPlace | None:
    if len(found) > 1:
        instead = CPU
        if group.npu_reason is None:
            votes = list(units.values())
            instead = max(found, key=lambda unit: (votes.count(unit), unit == found[0]))
        nodes = ", ".join(group.nodes)
        return IllegalPlace(
            group.index, found, f"its nodes {nodes} are fused and run together.", instead
        )
    if found == (CPU_INT8,):
        if group.host is not None:
            return None
        return IllegalPlace(group.index, found, f"{group.host_reason}.", CPU)
    asked = found[0] if found else FREE
    # What units with numbers of their own can run is found when it is costed.
    integers = asked in places.numbers and places[places.numbers[asked]].number == INT8
    if asked != CPU and integers and group.npu_reason is not None:
        return IllegalPlace(group.index, found, group.npu_reason, CPU)
    return None


def _nearest(plan: Plan, groups: GroupGraph, problems: Iterable[IllegalPlace]) -> Plan:
    moved = {
        node: problem.instead for problem in problems for node in groups.groups[problem.group].nodes
    }
    named = {node: moved.get(node, unit) for node, unit in plan.units.items()}
    segments = []
    for part in plan.segments:
        kept = tuple(node for node in part.nodes if node not in moved)
        named |= {node: moved[node] for node in part.nodes if node in moved}
        if kept:
            segments.append(replace(part, nodes=kept))
    return replace(plan, units=named, segments=tuple(segments))


def _sources(groups: GroupGraph) -> dict[int, set[int]]:
    sources: dict[int, set[int]] = {group.index: set() for group in groups.groups}
    for tensor in groups.tensors:
        if tensor.producer != OUTSIDE:
            for reader in tensor.consumers:
                sources[reader].add(tensor.producer)
    return sources


def _check_segments(plan: Plan, groups: GroupGraph) -> None:
    """Refuses segments that need one another's results."""
    owner = {group.index: -1 - group.index for group in groups.groups}
    for number, part in enumerate(plan.segments):
        for node in part.nodes:
            owner[groups.group_of[node]] = number
    needs: dict[int, set[int]] = {item: set() for item in owner.values()}
    for reader, producers in _sources(groups).items():
        for producer in producers:
            if owner[producer] != owner[reader]:
                needs[owner[reader]].add(owner[producer])
    done: set[int] = set()
    waiting = dict(needs)
    while waiting:
        ready = [item for item, before in waiting.items() if before <= done]
        if not ready:
            stuck = sorted(item for item in waiting if item >= 0 and _on_cycle(item, waiting))
            names = "; ".join(
                f"segment {item + 1} ({', '.join(plan.segments[item].nodes[:_SHOWN])})"
                for item in stuck
            )
            raise InputError(
                f"plan: the cuts are cyclic: {names} cannot run as a whole, because what it reads "
                "needs its own results",
                hint="cut the segment where another unit's results come in",
            )
        done.update(ready)
        for item in ready:
            del waiting[item]


def _on_cycle(item: int, needs: Mapping[int, set[int]]) -> bool:
    pending, seen = list(needs[item]), set[int]()
    while pending:
        other = pending.pop()
        if other == item:
            return True
        if other not in seen and other in needs:
            seen.add(other)
            pending += needs[other]
    return False


def _order(plan: Plan, groups: GroupGraph) -> tuple[int, ...] | None:
    if not plan.order:
        return None
    order: dict[int, None] = {}
    sources = _sources(groups)
    ancestors: dict[int, set[int]] = {}
    for group, direct in sources.items():
        ancestors[group] = direct.union(*(ancestors[before] for before in direct))
    for node in plan.order:
        group = _known(node, groups, "order")
        late = [before for before in order if group in ancestors[before]]
        if group not in order and late:
            raise InputError(
                f"plan: order: {node!r} comes after {groups.groups[late[0]].name!r}, which needs "
                "its result"
            )
        order[group] = None
    return tuple(order)


def assignment_of(placement: Placement, groups: GroupGraph, places: Places) -> dict[str, str]:
    """Place of every node by name: what quantization and the compile take.

    Views say the first unit that can and may follow the others: whether one runs as code is up to
    its neighbours.
    """
    assignment = {}
    for group in groups.groups:
        views = {name for name, _ in group.views}
        for node in group.nodes:
            name = places[placement[group.index]].name
            assignment[node] = groups.untuned[node] if node in views else name
    return assignment


def plan_of(
    placement: Placement,
    groups: GroupGraph,
    places: Places,
    *,
    model: Subject | None = None,
    target: Subject | None = None,
) -> Plan:
    """A complete plan, one line per group."""
    units = {group.name: places[placement[group.index]].name for group in groups.groups}
    return Plan(units, model=model or Subject(), target=target or Subject())
