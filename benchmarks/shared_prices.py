"""Joint against staged+ choice of precision and cuts without a sampler: the cost tables' optima at
several prices of damage, judged, and compiled where they keep the limit.

- *joint*: optima with every way of sharing an operator.
- *staged+*: optima of whole operators; the fastest within the limit keeps its scheme and where
  layers run, and those on the unit of fewest levels are cut over both units in the ways of least
  time, then in those of least damage that cost no time beside staying whole.

All are around the same placements, under one scheme: scales per channel by least error, GPTQ. Of a
side's optima, sorted by damage, the one of most damage within the limit is looked for by halving,
and the next ones behind it are judged, too: accuracy falls with damage but for chance. A side that
has nothing within the limit says how near it came. What each side chooses is judged once more on
the part of the samples that only reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

from compiler_core.partition.best import on_first_units, prepare
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


_BEHIND = 2
"""So many optima of more damage than the most that kept the limit are judged."""


@dataclass(frozen=True)
class Judged:
    """A placement, judged; compiled where it keeps the limit.

    Attributes:
        shared: The placement.
        drop: Accuracy that it loses.
        latency_ms, npu_cycles: Of its package; infinite and 0 where it loses too much.
    """

    shared: Shared
    drop: float
    latency_ms: float = inf
    npu_cycles: int = 0

    @property
    def keeps(self) -> bool:
        """Whether it loses no more accuracy than the limit."""
        return isfinite(self.latency_ms)


class Comparison:
    """Both sides on one model.

    Args:
        subjects: Model, target, data.
        limit: Accuracy that may be lost.
    """

    def __init__(self, subjects: Subjects, limit: float) -> None:
        self._limit = limit + 1e-9
        self._bench = Bench(subjects)
        graph, target, joins = self._bench.model.graph, self._bench.target, subjects.merges
        self._evaluator = prepare(graph, target, joins_layers=joins, packaged=True)
        self._ways = shared_ways(graph, target, self._evaluator, joins_layers=joins)
        self._space = PartitionSpace(self._evaluator)
        self._placements = SharedPlacements(self._space, self._ways, joins_layers=joins)
        self._joins = joins
        self._float = self._bench.float_accuracy(0).value
        self._known: dict[object, Judged] = {}

    def starts(self) -> dict[str, Placement]:
        """The best plan of the cost tables, and everything on the units."""
        best = next(iter(self._space.first_points().values()))
        return {
            "best plan": self._space.placement(best),
            "all on the units": on_first_units(self._evaluator),
        }

    def judged(self, shared: Shared) -> Judged:
        """A placement on all samples that choose, and by its package."""
        point = self._placements.point(shared)
        if point not in self._known:
            decisions = self._decisions(shared)
            drop = self._float - self._bench.accuracy(decisions, 0).value
            self._known[point] = Judged(shared, drop)
            if drop <= self._limit:
                metrics = self._bench.metrics(self._bench.compiled(decisions, {}))
                own = metrics["latency_ms"], int(metrics["npu_cycles"])
                self._known[point] = Judged(shared, drop, *own)
        return self._known[point]

    def reported(self, judged: Judged) -> float | None:
        """Accuracy that is lost on the samples that only report; ``None`` without any."""
        if self._bench.reporting is None:
            return None
        own = self._bench.reported(self._decisions(judged.shared)).value
        return self._bench.reported(None).value - own

    def _decisions(self, shared: Shared) -> dict[str, object]:
        assignment = self._placements.assignment(self._placements.point(shared))
        return {"quantization": scheme_document(SCHEME), "partition": assignment}

    def joint(self, start: Placement) -> Iterator[Judged]:
        """Optima with every way."""
        return self._within(self._guesses(self._ways).around(start))

    def whole(self, start: Placement) -> Iterator[Judged]:
        """Optima of whole operators."""
        return self._within(self._guesses({}).around(start))

    def _within(self, offers: Sequence[Shared]) -> Iterator[Judged]:
        """Of offers, those of least damage first, what is judged."""
        for at in sought(len(offers), lambda at: self.judged(offers[at]).keeps):
            yield self.judged(offers[at])

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


def sought(count: int, keeps: Callable[[int], bool]) -> Iterator[int]:
    """Numbers that are looked at for the last one that keeps a limit, where those before it do but
    for chance: halving, then the next ones behind the first that was seen to break it."""
    low, high, seen = -1, count, set[int]()
    while high - low > 1:
        middle = (low + high) // 2
        seen.add(middle)
        yield middle
        low, high = (middle, high) if keeps(middle) else (low, middle)
    yield from (at for at in range(high + 1, min(count, high + _BEHIND)) if at not in seen)


def fastest(found: Sequence[Judged]) -> Judged | None:
    """Of those within the limit."""
    kept = [item for item in found if item.keeps]
    return min(kept, key=lambda item: item.latency_ms, default=None)


def compare(subjects: Subjects, limit: float) -> None:
    """Prints what both sides come to, around each placement and in all."""
    comparison = Comparison(subjects, limit)
    best: dict[str, list[Judged]] = {"staged+": [], "joint": []}
    for label, start in comparison.starts().items():
        print(f"around: {label}", flush=True)
        sides: dict[str, list[Judged]] = {"staged+": [], "joint": []}
        for item in comparison.whole(start):
            sides["staged+"].append(_shown("whole", item))
        first = fastest(sides["staged+"])
        for item in () if first is None else comparison.cut(first):
            sides["staged+"].append(_shown("cut", item))
        for item in comparison.joint(start):
            sides["joint"].append(_shown("joint", item))
        print_ratio(sides)
        for name, found in sides.items():
            best[name] += found
    print("around both")
    print_ratio(best)
    for name, found in best.items():
        chosen = fastest(found)
        told = None if chosen is None else comparison.reported(chosen)
        if told is not None:
            print(f"{name}: drop {told:+.4f} on the samples that only report", flush=True)


def print_ratio(sides: Mapping[str, Sequence[Judged]]) -> None:
    """Joint over staged+, or which of them has nothing within the limit and how near it came."""
    chosen = {name: fastest(found) for name, found in sides.items()}
    for name, own in chosen.items():
        if own is None:
            nearest = min(item.drop for item in sides[name])
            print(f"{name}: none of {len(sides[name])} within the limit, least drop {nearest:+.4f}")
    ours, theirs = chosen["joint"], chosen["staged+"]
    if ours is not None and theirs is not None:
        print(
            f"joint {ours.latency_ms:.4f} ms of {len(sides['joint'])}, staged+ "
            f"{theirs.latency_ms:.4f} ms of {len(sides['staged+'])}: "
            f"{ours.latency_ms / theirs.latency_ms:.4f}; cycles of the units {ours.npu_cycles:,}, "
            f"{theirs.npu_cycles:,}",
            flush=True,
        )


def _shown(label: str, item: Judged) -> Judged:
    costs = f"{item.latency_ms:9.4f} ms {item.npu_cycles:12,} cycles" if item.keeps else "too much"
    print(
        f"  {label:6} {costs:34} drop {item.drop:+.4f}, {len(item.shared.ways)} shared", flush=True
    )
    return item
