"""Placements that others would choose; every one is judged by the same system simulator."""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import OUTSIDE, GroupGraph
from compiler_core.partition.milp import ModuleObjective
from compiler_core.partition.optimum import find_optimum
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement


def baselines(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> dict[str, Placement]:
    """All baselines by name; pinned groups stay where they are pinned."""
    units = evaluator.costs.places.units
    several = len(units) > 1
    found = {
        "all_cpu": all_cpu(evaluator),
        **{
            f"all_{evaluator.costs.places[evaluator.costs.places.whole(unit)].name}"
            if several
            else "all_npu": all_on(evaluator, unit)
            for unit in units
        },
        "static_by_type": static_by_type(evaluator),
        "fastest_unit": fastest_unit(evaluator),
        "partition_tuner": partition_tuner(evaluator, pins),
    }
    return {name: with_pins(placement, pins) for name, placement in found.items()}


def with_pins(placement: Placement, pins: Mapping[int, int] | None) -> Placement:
    """A placement with some groups moved."""
    return tuple((pins or {}).get(group, place) for group, place in enumerate(placement))


def all_cpu(evaluator: Evaluator) -> Placement:
    """Every group on the CPU."""
    return (ON_CPU,) * len(evaluator.choices)


def all_on(evaluator: Evaluator, unit: int) -> Placement:
    """Every group that can on one unit, whole."""
    place = evaluator.costs.places.whole(unit)
    return tuple(place if place in places else ON_CPU for places in evaluator.choices)


def all_npu(evaluator: Evaluator) -> Placement:
    """Every group that can on the first unit, whole."""
    return all_on(evaluator, evaluator.costs.places.units[0])


def static_by_type(evaluator: Evaluator) -> Placement:
    """Per type of operator the place that is fastest for all groups of that type together."""
    gains: dict[tuple[str, int], int] = {}
    for group in evaluator.groups.groups:
        times = place_times(evaluator, group.index)
        for place, time in times.items():
            key = group.operator, place
            gains[key] = gains.get(key, 0) + time - times[ON_CPU]
    return tuple(
        min(place_times(evaluator, group.index), key=lambda at: gains[group.operator, at])
        for group in evaluator.groups.groups
    )


def fastest_unit(evaluator: Evaluator) -> Placement:
    """Each group at the place whose profile is shortest, whatever its neighbours do."""
    placement = []
    for group in range(len(evaluator.choices)):
        times = place_times(evaluator, group)
        placement.append(min(times, key=times.__getitem__))
    return tuple(placement)


def place_times(evaluator: Evaluator, group: int) -> dict[int, int]:
    """Time of a group, with its launches, at each place of whole operators; the baselines know
    nothing of cutting. The CPU comes first."""
    return {
        place: place_time_ps(evaluator, group, place)
        for place in evaluator.costs.places.uncut
        if place in evaluator.choices[group]
    }


def place_time_ps(evaluator: Evaluator, group: int, place: int) -> int:
    """Time of a group, with its launches, at one place."""
    cost = evaluator.costs.groups[group]
    if place == ON_CPU:
        return cost.cpu.run_ps
    return cost.at[place].busy_ps(evaluator.costs.launch_ps)


def partition_tuner(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> Placement:
    """Dynamic programming over profiles, branch by branch, with the cost of switching units.

    A branch is a chain of groups without other readers or sources in between. In topological order
    each gets the units of least total time, conversions within it and from the branches before it
    included; what runs beside it is not considered.

    Source: Yu et al., "PartitionTuner: An operator scheduler for deep-learning compilers supporting
    multiple heterogeneous processing units", ETRI Journal, 2023.
    """
    return _BranchProgramming(evaluator, pins or {}).run()


def branches(groups: GroupGraph) -> tuple[tuple[int, ...], ...]:
    """Maximal chains of groups, in topological order of their first ones."""
    sources: dict[int, set[int]] = {group.index: set() for group in groups.groups}
    readers: dict[int, set[int]] = {group.index: set() for group in groups.groups}
    for tensor in groups.tensors:
        if tensor.producer != OUTSIDE:
            readers[tensor.producer].update(tensor.consumers)
            for reader in tensor.consumers:
                sources[reader].add(tensor.producer)
    following = {
        group: next(iter(readers[group]))
        for group in readers
        if len(readers[group]) == 1 and len(sources[next(iter(readers[group]))]) == 1
    }
    inside = set(following.values())
    chains = []
    for group in readers:
        if group in inside:
            continue
        chain = [group]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append(tuple(chain))
    return tuple(chains)


class _BranchProgramming:
    def __init__(self, evaluator: Evaluator, pins: Mapping[int, int]) -> None:
        self._evaluator, self._pins = evaluator, pins
        self._placement = [ON_CPU] * len(evaluator.choices)

    def run(self) -> Placement:
        for chain in branches(self._evaluator.groups):
            self._place(chain)
        return tuple(self._placement)

    def _place(self, chain: tuple[int, ...]) -> None:
        states: dict[int, tuple[int, tuple[int, ...]]] = {}
        for position, group in enumerate(chain):
            following: dict[int, tuple[int, tuple[int, ...]]] = {}
            for place in self._places(group):
                own = self._time(group, place)
                own += self._switches(group, place, chain[position - 1] if position else None)
                if not position:
                    following[place] = own, (place,)
                    continue
                time, way = min(
                    (time + self._switch(chain[position - 1], group, before, place), way)
                    for before, (time, way) in states.items()
                )
                following[place] = time + own, (*way, place)
            states = following
        for group, place in zip(chain, min(states.values())[1], strict=True):
            self._placement[group] = place

    def _places(self, group: int) -> tuple[int, ...]:
        pinned = self._pins.get(group)
        return tuple(place_times(self._evaluator, group)) if pinned is None else (pinned,)

    def _time(self, group: int, place: int) -> int:
        """Time at the place of whole operators that is next to a place."""
        places = self._evaluator.costs.places
        if places[place].unit != ON_HOST and places[place].is_cut:
            place = places.whole(places[place].unit)
        return place_time_ps(self._evaluator, group, place)

    def _switches(self, group: int, place: int, inside: int | None) -> int:
        """Conversions of what comes from branches that are placed, or from the caller."""
        total = 0
        for tensor in self._evaluator.groups.groups[group].reads:
            producer = self._evaluator.groups.tensors[tensor].producer
            if inside is not None and producer == inside:
                continue
            before = ON_CPU if producer == OUTSIDE else self._placement[producer]
            total += self._border(tensor, before, place)
        return total

    def _border(self, tensor: int, before: int, place: int) -> int:
        """Time of a conversion between two places; none where they hold tensors alike."""
        source, form = (self._evaluator.form_of[at] for at in (before, place))
        return 0 if source == form else self._evaluator.conversion_ps(tensor, source, form)

    def _switch(self, before: int, group: int, from_place: int, to_place: int) -> int:
        return sum(
            self._border(tensor, from_place, to_place)
            for tensor in self._evaluator.groups.groups[group].reads
            if self._evaluator.groups.tensors[tensor].producer == before
        )


def best_sequential(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> Placement:
    """The placement of least total time if nothing overlaps: what concurrency is judged by."""
    return find_optimum(evaluator, pins=pins, objective=ModuleObjective.SUM).placement
