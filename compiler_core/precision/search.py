"""The plan of number formats that this machine runs fastest within a limit on what it loses.

1. Operators and pairs are measured (:mod:`compiler_core.precision.table`).
2. How scales are found is chosen once, by the noise of integers throughout.
3. The optimum of the costs is judged. Where it loses too much, what each operator does alone is
   measured, and the room for noise shrinks until the optimum within it is good enough.
4. That optimum, plans near it, float and integers throughout run whole, interleaved by the clock.
5. Single operators of the fastest are moved, as long as the clock says that it helps.

Two plans whose ratio may be 1 are equal; of equal ones the one with less noise is taken. So nothing
is handed out that is slower than float, or than integers throughout where these are good enough,
beyond noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Protocol

import numpy.typing as npt

from compiler_core.clock.statistics import Interval
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.damage import DamageMeter, damages
from compiler_core.precision.proposals import FLOAT, FULL_INT8, FormatProposer, PrecisionPlan
from compiler_core.precision.table import PartTimer, PrecisionTable, measure_table, timed_as
from compiler_core.quantize.precisions import Rounding, with_rounding
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.sums import float_sum
from compiler_core.units.names import CPU

_ROOMS = (0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.005)
"""Noise that plans may have, as shares of what the optimum without a limit has."""
_MOVED = 16
"""Moves of single operators that are timed together."""
_ROUNDS = 3
_HOPE = 0.03
"""A move that should cost more than this share is not timed."""

Progress = Callable[[str], None]
Places = Mapping[str, str]


class PlanTimer(Protocol):
    """Times whole models together."""

    def ratios(self, graphs: Mapping[str, Graph], to: str) -> Mapping[str, PlanTime]:
        """Times of each, and how they compare with one of them."""
        ...


@dataclass(frozen=True)
class PlanTime:
    """What a whole model took among others.

    Attributes:
        latency_us: Median and interval.
        ratio: To the model that all were compared with.
    """

    latency_us: Interval
    ratio: Interval


@dataclass(frozen=True)
class VerifiedPlan:
    """A plan that was run whole.

    Attributes:
        plan: The plan.
        noise: Of the outputs, as a share of their power.
        good: Whether it loses little enough.
        time: By the clock; ``None`` where it was not timed.
    """

    plan: PrecisionPlan
    noise: float
    good: bool
    time: PlanTime | None = None


@dataclass(frozen=True, eq=False)
class PrecisionChoice:
    """What was found for a model.

    Attributes:
        chosen: The plan to take.
        verified: All that were run whole, float and integers throughout among them.
        scheme: How scales are found.
        table: Measured costs.
        room: Noise that plans were held to; ``None`` where none was needed.
        damages: Noise of operators alone, where it was measured.
    """

    chosen: VerifiedPlan
    verified: tuple[VerifiedPlan, ...]
    scheme: QuantizationScheme
    table: PrecisionTable
    room: float | None
    damages: Mapping[str, Mapping[str, float]]

    def named(self, name: str) -> VerifiedPlan:
        """A plan by its name."""
        return next(found for found in self.verified if found.plan.name == name)


IsGood = Callable[[Places, QuantizationScheme], bool]
"""Whether a plan loses little enough."""


class PrecisionSearch:
    """Looks for the plan of one model.

    Args:
        graph: The float graph, simplified.
        profile: Statistics of calibration data, with the samples.
        parts: Times operators and pairs.
        plans: Times whole models.
        is_good: The limit.
        threads: For what is not timed.
        progress: Told what is being done.

    Raises:
        InputError: The profile has no samples, or does not fit the graph.
    """

    def __init__(
        self,
        graph: Graph,
        profile: Profile,
        parts: PartTimer,
        plans: PlanTimer,
        is_good: IsGood,
        *,
        threads: int = 1,
        progress: Progress = lambda _: None,
    ) -> None:
        samples = profile.first()
        if samples is None:
            raise InputError(
                "a profile holds no samples: number formats are judged by what they lose",
                hint="give --calibration calib.npz in place of a profile",
            )
        profile.check_model(graph)
        self._graph, self._ranges = graph, profile.ranges()
        self._samples: Mapping[str, npt.NDArray[Any]] = samples
        self._parts, self._plans, self._is_good = parts, plans, is_good
        self._threads, self._progress = threads, progress
        self._meters: dict[QuantizationScheme, DamageMeter] = {}

    @cached_property
    def table(self) -> PrecisionTable:
        """Costs of operators and pairs."""
        return measure_table(self._graph, self._ranges, self._parts, self._progress)

    @cached_property
    def proposer(self) -> FormatProposer:
        """Optima of them."""
        return FormatProposer(self.table, self._damages)

    @cached_property
    def scheme(self) -> QuantizationScheme:
        """How scales are found: what leaves least noise with integers throughout."""
        places = self.proposer.usual()[1].places
        self._progress("how scales are found")
        return min(_schemes(), key=lambda scheme: self._meter(scheme).noise(places))

    def _meter(self, scheme: QuantizationScheme) -> DamageMeter:
        if scheme not in self._meters:
            self._meters[scheme] = DamageMeter(
                self._graph, self._ranges, self._samples, scheme, threads=self._threads
            )
        return self._meters[scheme]

    def _damages(self) -> Mapping[str, Mapping[str, float]]:
        meter = self._meter(self.scheme)
        return damages(self._graph, self.table.kept, meter, self._progress)

    def noise(self, places: Places, scheme: QuantizationScheme) -> float:
        """Noise of the outputs under a plan, as a share of their power."""
        return self._meter(scheme).noise(places)

    def choose(self) -> PrecisionChoice:
        """The plan to take."""
        usual = [self._judged(plan) for plan in self.proposer.usual()]
        room, first = self._room()
        self._progress("plans of least time")
        plans = self.proposer.proposals(room)
        others = [self._judged(p) for p in plans if first is None or p.places != first.plan.places]
        judged = [*usual, *([first] if first else []), *others]
        timed = self._timed(judged)
        best, timed = self._moved(timed)
        known = self.proposer.known_damages
        return PrecisionChoice(best, tuple(timed), self.scheme, self.table, room, known)

    def _judged(self, plan: PrecisionPlan) -> VerifiedPlan:
        """A plan with what it loses; weights in blocks rounded so that it loses least."""
        ways = dict.fromkeys(
            tuple((name, with_rounding(place, way)) for name, place in plan.places.items())
            for way in Rounding
        )
        meter = self._meter(self.scheme)
        noise, places = min((meter.noise(dict(way)), way) for way in ways)
        plan = replace(plan, places=dict(places))
        return VerifiedPlan(plan, noise, not places or self._is_good(plan.places, self.scheme))

    def _room(self) -> tuple[float | None, VerifiedPlan | None]:
        """Noise by which the optimum is good enough, as sums of operators tell it, and that
        optimum."""
        plan = self.proposer.best("optimum 1", None)
        if plan is None:
            return None, None
        found = self._judged(plan)
        if found.good:
            return None, found
        known = self.proposer.damages
        whole = float_sum(known[name][timed_as(place)] for name, place in plan.places.items())
        for share in _ROOMS:
            self._progress(f"plans of at most {share:.3g} of the noise")
            plan = self.proposer.best("optimum 1", share * whole)
            if plan is not None and (found := self._judged(plan)).good:
                return share * whole, found
        return 0.0, None

    def _graph_of(self, places: Places) -> Graph:
        if not places:
            return self._graph
        return self._meter(self.scheme).lowered(places)

    def _timed(self, judged: Sequence[VerifiedPlan]) -> list[VerifiedPlan]:
        self._progress(f"whole models by the clock: {len(judged)}")
        graphs = {found.plan.name: self._graph_of(found.plan.places) for found in judged}
        times = self._plans.ratios(graphs, FLOAT)
        return [replace(found, time=times[found.plan.name]) for found in judged]

    def _moved(self, timed: list[VerifiedPlan]) -> tuple[VerifiedPlan, list[VerifiedPlan]]:
        """The fastest plan, improved by moves of single operators that the clock confirms."""
        best = fastest(timed)
        tried: set[tuple[tuple[str, str], ...]] = set()
        for number in range(_ROUNDS):
            moves = self._moves(best.plan, number, tried)
            good = [found for move in moves if (found := self._judged(move)).good]
            if not good:
                break
            self._progress(f"single operators by the clock: {len(good)}")
            graphs = {found.plan.name: self._graph_of(found.plan.places) for found in good}
            graphs[best.plan.name] = self._graph_of(best.plan.places)
            times = self._plans.ratios(graphs, best.plan.name)
            better = [f for f in good if times[f.plan.name].ratio.high < 1.0]
            if not better:
                break
            quickest = min(better, key=lambda f: times[f.plan.name].ratio.value)
            again = self._timed([*timed[:2], best, quickest])
            timed = [*again, *(f for f in timed[2:] if f.plan.name != best.plan.name)]
            best = fastest(again)
        return best, timed

    def _moves(
        self, base: PrecisionPlan, number: int, tried: set[tuple[tuple[str, str], ...]]
    ) -> list[PrecisionPlan]:
        """Plans one operator away that should take about as long at most, the best first."""
        before = self.table.total_us(base.places)
        if before is None:
            return []
        found = []
        for name, options in self.table.kept.items():
            for place in options:
                if place == timed_as(base.places.get(name, CPU)):
                    continue
                places = {n: p for n, p in {**base.places, name: place}.items() if p != CPU}
                after = self.table.total_us(places)
                key = tuple(sorted(places.items()))
                if after is not None and after < before * (1 + _HOPE) and key not in tried:
                    found.append((after, key, f"{name} at {place}, {number + 1}"))
        found.sort()
        tried |= {key for _, key, _ in found[:_MOVED]}
        return [PrecisionPlan(name, dict(key), after) for after, key, name in found[:_MOVED]]


def _schemes() -> list[QuantizationScheme]:
    methods = (RangeMethod.MAX, RangeMethod.MSE, RangeMethod.PERCENTILE)
    return [
        QuantizationScheme(activation_range=method, bias_correction=corrected)
        for method, corrected in product(methods, (False, True))
    ]


def fastest(timed: Sequence[VerifiedPlan]) -> VerifiedPlan:
    """The good plan that takes least; of those that may be as fast, the one with least noise."""
    good = [found for found in timed if found.good and found.time is not None]
    first = min(good, key=lambda found: _time(found).ratio.value)
    equal = [f for f in good if _time(f).ratio.low <= _time(first).ratio.high]
    near = [f for f in equal if _time(f).ratio.value <= _time(first).ratio.value * 1.01]
    return min(near, key=lambda found: found.noise)


def _time(found: VerifiedPlan) -> PlanTime:
    assert found.time is not None
    return found.time


__all__ = ["FULL_INT8", "PrecisionChoice", "PrecisionSearch", "VerifiedPlan", "fastest"]
