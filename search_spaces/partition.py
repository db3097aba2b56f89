"""The partition space of a model: at which place each group runs.

A point is one index per free group: into the places where it can run. Pinned groups and those that
can run at one place alone are no parameters. Every point is legal, because legality is per group;
what the layout rules of the compiler move to the CPU beside certain neighbours is the compiler's
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import log, prod

import numpy as np

from compiler_core.errors import InputError
from compiler_core.partition.baselines import baselines, best_sequential
from compiler_core.partition.best import untuned
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.least import Price, descend, find_least
from compiler_core.partition.optimum import find_optimum
from compiler_core.partition.resolve import assignment_of
from compiler_core.sums import float_sum
from compiler_core.targets.places import Placement
from compiler_core.tensor.digest import digest
from search_spaces.parameter import Parameter, Points

__all__ = ["PartitionSpace"]


class PartitionSpace:
    """All placements of one model.

    Args:
        evaluator: Groups, the places where they can run, and their costs.
        pins: Groups whose place is given, by number.

    Attributes:
        parameters: One per free group, named after it; values are places.
    """

    def __init__(self, evaluator: Evaluator, pins: Mapping[int, int] | None = None) -> None:
        self.evaluator = evaluator
        self._pins = dict(pins or {})
        self._names = evaluator.costs.places.names
        self._choices = [
            (self._pins[group],) if group in self._pins else tuple(places)
            for group, places in enumerate(evaluator.choices)
        ]
        self._free = [group for group, places in enumerate(self._choices) if len(places) > 1]
        self.parameters = tuple(
            Parameter(
                evaluator.groups.groups[group].name,
                tuple(self._names[place] for place in self._choices[group]),
                ordered=False,
            )
            for group in self._free
        )

    @cached_property
    def digest(self) -> str:
        """Key of the space: groups, places and pins."""
        fixed = {str(group): self._names[place] for group, place in self._pins.items()}
        return digest((self.parameters, fixed))

    @property
    def size(self) -> int:
        """Points; every one is legal."""
        return prod(len(parameter) for parameter in self.parameters)

    def placement(self, point: tuple[int, ...] | Points) -> Placement:
        """The placement of a point."""
        places = [choices[0] for choices in self._choices]
        for group, index in zip(self._free, point, strict=True):
            places[group] = self._choices[group][int(index)]
        return tuple(places)

    def encode(self, placement: Placement) -> tuple[int, ...]:
        """The point of a placement.

        Raises:
            InputError: A group is where it cannot run, or not where it is pinned.
        """
        if len(placement) != len(self._choices):
            raise InputError(
                f"a placement of {len(placement)} groups; the model has {len(self._choices)}"
            )
        for group, (place, choices) in enumerate(zip(placement, self._choices, strict=True)):
            if place not in choices:
                allowed = ", ".join(self._names[choice] for choice in choices)
                name = self.evaluator.groups.groups[group].name
                raise InputError(f"group {name!r}: {self._names[place]}; the space holds {allowed}")
        return tuple(self._choices[group].index(placement[group]) for group in self._free)

    def assignment(self, point: tuple[int, ...] | Points) -> dict[str, str]:
        """Place of every node: what a configuration holds as its plan."""
        groups, places = self.evaluator.groups, self.evaluator.costs.places
        return assignment_of(self.placement(point), groups, places)

    def latency_ms(self, point: tuple[int, ...] | Points) -> float:
        """End-to-end latency of a point by the system simulator and the cost tables."""
        return self.evaluator.latency_ps(self.placement(point)) / 1e9

    def enumerate(self) -> Iterator[tuple[int, ...]]:
        """All points, always in the same order."""
        return product(*(range(len(parameter)) for parameter in self.parameters))

    def sample(self, generator: np.random.Generator, count: int) -> Points:
        """Distinct points, ``int64[n, parameters]``; fewer where the space is smaller.

        Points are drawn segment by segment: neighbouring groups tend to share a place, because a
        point that switches at every group is never good.
        """
        wanted = min(count, self.size)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < wanted:
            stay = generator.random()
            point: list[int] = []
            for parameter in self.parameters:
                fresh = int(generator.integers(len(parameter)))
                keep = point and generator.random() < stay and point[-1] < len(parameter)
                point.append(point[-1] if keep else fresh)
            found.setdefault(tuple(point))
        return np.array(list(found), np.int64).reshape(wanted, len(self.parameters))

    def neighbours(self, point: tuple[int, ...]) -> Points:
        """Points one decision away: one group moved, or two dependent ones moved together."""
        moves: dict[tuple[int, ...], None] = {}
        position = {group: at for at, group in enumerate(self._free)}
        for axis, parameter in enumerate(self.parameters):
            for index in range(len(parameter)):
                moves.setdefault(_moved(point, {axis: index}))
        for tensor in self.evaluator.groups.tensors:
            first = position.get(tensor.producer)
            for reader in tensor.consumers:
                second = position.get(reader)
                if first is None or second is None:
                    continue
                shared = min(len(self.parameters[first]), len(self.parameters[second]))
                for index in range(shared):
                    moves.setdefault(_moved(point, {first: index, second: index}))
        moves.pop(tuple(point), None)
        return np.array(list(moves), np.int64).reshape(len(moves), len(self.parameters))

    def prices(self, point: tuple[int, ...] | Points) -> dict[str, float]:
        """What a point costs by the system simulator and the cost tables, by metric."""
        found = self.evaluator.evaluate(self.placement(point))
        return {
            "latency_ms": found.latency_ps / 1e9,
            "energy_mj": found.energy_mj,
            "npu_cycles": found.npu_cycles,
            "size_bytes": found.dram_constant_bytes,
            "dram_peak_bytes": found.dram_peak_bytes,
        }

    def first_points(self, aims: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
        """Points to try first, best guess first: the optimum of the cost tables, then the
        baselines; names of equal ones are joined.

        Args:
            aims: Metrics that count, the most important first; the latency without. Each has its
                own optimum, and several have a compromise: the least product of all.
        """
        found = {**baselines(self.evaluator, self._pins)}
        found["untuned"] = tuple(
            self._pins.get(group, place) for group, place in enumerate(untuned(self.evaluator))
        )
        found["best_sequential"] = best_sequential(self.evaluator, self._pins)
        best = find_optimum(self.evaluator, pins=self._pins, starts=found.values())
        optima = {"optimum": best.placement}
        starts = [best.placement, *found.values()]
        for metric in aims:
            if metric in _PRICES:
                price = _PRICES[metric]
                least = find_least(self.evaluator, price, pins=self._pins, starts=starts)
                optima[f"least_{metric}"] = least
        if aims and aims[0] != "latency_ms":
            optima = dict(sorted(optima.items(), key=lambda item: item[0] != f"least_{aims[0]}"))
        if len(aims) > 1 and len(optima) > 1:
            optima["compromise"] = self._compromise(aims, [*optima.values(), *starts])
        names: dict[tuple[int, ...], list[str]] = {}
        for name, placement in {**optima, **found}.items():
            names.setdefault(self.encode(placement), []).append(name)
        return {"+".join(same): point for point, same in names.items()}

    def _compromise(self, aims: Sequence[str], starts: Sequence[Placement]) -> Placement:
        prices = [_PRICES[metric] for metric in aims if metric in _PRICES]
        is_timed = "latency_ms" in aims

        def value(found: Evaluation) -> float:
            factors = [float(found.latency_ps)] if is_timed else []
            factors += [price.of(found) for price in prices]
            return float_sum(log(max(factor, 1.0)) for factor in factors)

        return descend(self.evaluator, value, self._choices, starts)


_PRICES = {
    "energy_mj": Price.ENERGY_PJ,
    "npu_cycles": Price.CYCLES,
    "size_bytes": Price.CONSTANT_BYTES,
    "dram_peak_bytes": Price.PEAK_BYTES,
}
"""What stands for a metric in a plan: of a package's size the constants are by far the most."""


def _moved(point: tuple[int, ...], changes: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(changes.get(axis, index) for axis, index in enumerate(point))
