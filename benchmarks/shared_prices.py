"""Joint against staged+ choice of precision and cuts without a sampler: the cost tables' optima at
several prices of damage, each compiled and judged.

- *joint*: optima with every way of sharing an operator.
- *staged+*: optima of whole operators; the fastest within the limit keeps its scheme and where
  layers run, and those on the unit of fewest levels are cut over both units in the ways of least
  time, then in those of least damage that cost no time beside staying whole.

All are around the same placements, under one scheme: scales per channel by least error, GPTQ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compiler_core.partition.best import prepare, untuned
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import (
    QuantizationScheme,
    RangeMethod,
    WeightRounding,
    scheme_document,
)
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.places import Placement
from nest_tune.study.execution.candidates import Bench, Subjects
from search_spaces.partition import PartitionSpace
from search_spaces.shared import SharedWay, busy_ps, shared_ways
from search_spaces.shared_guesses import Guesses, Shared
from search_spaces.shared_placements import SharedPlacements

SCHEME = QuantizationScheme(
    granularity=Granularity.CHANNEL,
    weight_range=RangeMethod.MSE,
    weight_rounding=WeightRounding.GPTQ,
)

PRICES = 40
"""So many prices are tried; many of them choose alike."""


@dataclass(frozen=True)
class Judged:
    """A placement, compiled and judged."""

    shared: Shared
    latency_ms: float
    npu_cycles: int
    drop: float

    def keeps(self, limit: float) -> bool:
        """Whether it loses no more accuracy than that."""
        return self.drop <= limit + 1e-9


class Comparison:
    """Both sides on one model.

    Args:
        subjects: Model, target, data.
    """

    def __init__(self, subjects: Subjects) -> None:
        self._bench = Bench(subjects)
        graph, target, joins = self._bench.model.graph, self._bench.target, subjects.merges
        self._evaluator = prepare(graph, target, joins_layers=joins, packaged=True)
        self._ways = shared_ways(graph, target, self._evaluator, joins_layers=joins)
        self._space = PartitionSpace(self._evaluator)
        self._placements = SharedPlacements(self._space, self._ways, joins_layers=joins)
        self._joins = joins
        self._float = self._bench.float_accuracy(0).value
        self._known: dict[object, Judged] = {}

    def starts(self) -> tuple[Placement, ...]:
        """The best plan of the cost tables, and everything on the units."""
        best = next(iter(self._space.first_points().values()))
        return self._space.placement(best), untuned(self._evaluator)

    def judged(self, shared: Shared) -> Judged:
        """A placement by its package and on all evaluation samples."""
        point = self._placements.point(shared)
        if point not in self._known:
            decisions = {
                "quantization": scheme_document(SCHEME),
                "partition": self._placements.assignment(point),
            }
            metrics = self._bench.metrics(self._bench.compiled(decisions, {}))
            drop = self._float - self._bench.accuracy(decisions, 0).value
            self._known[point] = Judged(
                shared, metrics["latency_ms"], int(metrics["npu_cycles"]), drop
            )
        return self._known[point]

    def joint(self, start: Placement) -> Iterator[Judged]:
        """Optima with every way, those of least damage first."""
        for shared in self._guesses(self._ways).around(start):
            yield self.judged(shared)

    def whole(self, start: Placement) -> Iterator[Judged]:
        """Optima of whole operators, those of least damage first."""
        for shared in self._guesses({}).around(start):
            yield self.judged(shared)

    def cut(self, chosen: Judged) -> Iterator[Judged]:
        """The second stage: layers of fewest levels over both units."""
        units = dict(unit_arithmetics(target_arithmetic(self._bench.target)).units)
        least = min(units, key=lambda name: units[name].traits.weight_levels)
        number = self._evaluator.costs.places.numbers[least]
        placement = chosen.shared.placement
        mine = {g: w for g, w in self._ways.items() if placement[g] == number}
        group_of = self._evaluator.groups.group_of
        own = {
            group: [
                way
                for way in ways
                if all(placement[group_of[name]] == number for name in way.nodes)
            ]
            for group, ways in mine.items()
        }
        for by_damage in (False, True):
            ways: dict[int, SharedWay] = {}
            for group, options in own.items():
                faster = [way for way in options if way.run_ps < self._whole_ps(way, placement)]
                if faster:
                    ways[group] = min(
                        faster, key=lambda w: (w.damage if by_damage else w.run_ps, w.run_ps)
                    )
            if ways:
                yield self.judged(replace(chosen.shared, ways=ways))

    def _whole_ps(self, way: SharedWay, placement: Placement) -> int:
        evaluator = self._evaluator
        launch = 0 if self._joins else evaluator.costs.launch_ps
        groups = [evaluator.groups.group_of[name] for name in way.nodes]
        return sum(busy_ps(evaluator, group, placement, launch) for group in groups)

    def _guesses(self, ways: dict[int, tuple[SharedWay, ...]]) -> Guesses:
        return Guesses(self._evaluator, ways, joins_layers=self._joins, prices=PRICES)


def fastest(found: Sequence[Judged], limit: float) -> Judged | None:
    """Of those within the limit."""
    kept = [item for item in found if item.keeps(limit)]
    return min(kept, key=lambda item: item.latency_ms, default=None)


def compare(subjects: Subjects, limit: float) -> None:
    """Prints what both sides come to, and all that was judged."""
    comparison = Comparison(subjects)
    for label, start in zip(("best plan", "all on the units"), comparison.starts(), strict=True):
        print(f"around: {label}", flush=True)
        sides: dict[str, list[Judged]] = {"staged+": [], "joint": []}
        for item in comparison.whole(start):
            sides["staged+"].append(_shown("whole", item))
        first = fastest(sides["staged+"], limit)
        if first is not None:
            for item in comparison.cut(first):
                sides["staged+"].append(_shown("cut", item))
        for item in comparison.joint(start):
            sides["joint"].append(_shown("joint", item))
        best = {name: fastest(found, limit) for name, found in sides.items()}
        counts = {name: len(found) for name, found in sides.items()}
        ours, theirs = best["joint"], best["staged+"]
        if ours is not None and theirs is not None:
            print(
                f"joint {ours.latency_ms:.4f} ms of {counts['joint']}, staged+ "
                f"{theirs.latency_ms:.4f} ms of {counts['staged+']}: "
                f"{ours.latency_ms / theirs.latency_ms:.4f}; cycles of the units "
                f"{ours.npu_cycles / theirs.npu_cycles:.4f}",
                flush=True,
            )


def _shown(label: str, item: Judged) -> Judged:
    print(
        f"  {label:6} {item.latency_ms:9.4f} ms {item.npu_cycles:12,} cycles, "
        f"drop {item.drop:+.4f}, {len(item.shared.ways)} shared",
        flush=True,
    )
    return item
