"""Placements that others would choose; every one is judged by the same system simulator."""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.groups import OUTSIDE, GroupGraph
from compiler_core.partition.milp import Objective
from compiler_core.partition.optimum import find_optimum
from compiler_core.partition.placement import ON_CPU, ON_NPU, SLICED, Placement


def baselines(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> dict[str, Placement]:
    """All baselines by name; pinned groups stay where they are pinned."""
    found = {
        "all_cpu": all_cpu(evaluator),
        "all_npu": all_npu(evaluator),
        "static_by_type": static_by_type(evaluator),
        "fastest_unit": fastest_unit(evaluator),
        "partition_tuner": partition_tuner(evaluator, pins),
    }
    return {name: with_pins(placement, pins) for name, placement in found.items()}


def with_pins(placement: Placement, pins: Mapping[int, int] | None) -> Placement:
    """A placement with some groups moved."""
    return tuple((pins or {}).get(group, unit) for group, unit in enumerate(placement))


def all_cpu(evaluator: Evaluator) -> Placement:
    """Every group on the CPU."""
    return (ON_CPU,) * len(evaluator.units)


def all_npu(evaluator: Evaluator) -> Placement:
    """Every group that can on the NPU."""
    return tuple(ON_NPU if ON_NPU in units else ON_CPU for units in evaluator.units)


def static_by_type(evaluator: Evaluator) -> Placement:
    """Per type of operator the unit that is faster for all groups of that type together."""
    sums: dict[str, int] = {}
    for group, units in zip(evaluator.groups.groups, evaluator.units, strict=True):
        if ON_NPU in units:
            on_cpu, on_npu = unit_times(evaluator, group.index)
            sums[group.operator] = sums.get(group.operator, 0) + on_npu - on_cpu
    return tuple(
        ON_NPU if ON_NPU in units and sums[group.operator] < 0 else ON_CPU
        for group, units in zip(evaluator.groups.groups, evaluator.units, strict=True)
    )


def fastest_unit(evaluator: Evaluator) -> Placement:
    """Each group on the unit whose profile is shorter, whatever its neighbours do."""
    placement = []
    for group, units in enumerate(evaluator.units):
        times = unit_times(evaluator, group)
        placement.append(min(_whole(units), key=times.__getitem__))
    return tuple(placement)


def _whole(units: tuple[int, ...]) -> tuple[int, ...]:
    """Units without slicing: the baselines know nothing of it."""
    return tuple(unit for unit in units if unit != SLICED)


def unit_times(evaluator: Evaluator, group: int) -> tuple[int, int]:
    """Time of a group on the CPU and, with its launches, on the NPU."""
    cost = evaluator.costs.groups[group]
    programs = cost.programs or ()
    return cost.cpu_ps, sum(p.run_ps + evaluator.costs.launch_ps for p in programs)


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
        self._placement = [ON_CPU] * len(evaluator.units)

    def run(self) -> Placement:
        for chain in branches(self._evaluator.groups):
            self._place(chain)
        return tuple(self._placement)

    def _place(self, chain: tuple[int, ...]) -> None:
        states: dict[int, tuple[int, tuple[int, ...]]] = {}
        for position, group in enumerate(chain):
            following: dict[int, tuple[int, tuple[int, ...]]] = {}
            for unit in self._units(group):
                own = unit_times(self._evaluator, group)[int(unit != ON_CPU)]
                own += self._switches(group, unit, chain[position - 1] if position else None)
                if not position:
                    following[unit] = own, (unit,)
                    continue
                time, way = min(
                    (time + self._switch(chain[position - 1], group, before, unit), way)
                    for before, (time, way) in states.items()
                )
                following[unit] = time + own, (*way, unit)
            states = following
        for group, unit in zip(chain, min(states.values())[1], strict=True):
            self._placement[group] = unit

    def _units(self, group: int) -> tuple[int, ...]:
        pinned = self._pins.get(group)
        return _whole(self._evaluator.units[group]) if pinned is None else (pinned,)

    def _switches(self, group: int, unit: int, inside: int | None) -> int:
        """Conversions of what comes from branches that are placed, or from the caller."""
        total = 0
        for tensor in self._evaluator.groups.groups[group].reads:
            producer = self._evaluator.groups.tensors[tensor].producer
            if inside is not None and producer == inside:
                continue
            before = ON_CPU if producer == OUTSIDE else self._placement[producer]
            if (before != ON_CPU) != (unit != ON_CPU):
                total += self._evaluator.conversion_ps(tensor)
        return total

    def _switch(self, before: int, group: int, from_unit: int, to_unit: int) -> int:
        if (from_unit != ON_CPU) == (to_unit != ON_CPU):
            return 0
        return sum(
            self._evaluator.conversion_ps(tensor)
            for tensor in self._evaluator.groups.groups[group].reads
            if self._evaluator.groups.tensors[tensor].producer == before
        )


def best_sequential(evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> Placement:
    """The placement of least total time if nothing overlaps: what concurrency is judged by."""
    return find_optimum(evaluator, pins=pins, objective=Objective.SUM).placement
