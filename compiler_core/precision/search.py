"""The plan of number formats that this machine runs fastest within a limit on what it loses.

1. Operators and pairs are measured (:mod:`compiler_core.precision.table`).
2. Ways to find scales are ordered by the noise of integers throughout.
3. Every form of integers throughout that may be the fastest runs whole, by the clock.
4. The optimum of the costs is judged. Where it loses too much however scales are found, what each
   operator does alone is measured, and the room for noise shrinks until the optimum within it is
   good enough with the scales that leave it the least noise; then it grows as far as that lasts.
5. That optimum, plans near it, float and the fastest forms of integers throughout run whole,
   interleaved by the clock; those of integers with scales found in the first way by which they are
   good enough.
6. Single operators of the fastest are moved, as long as the clock says that it helps; what helps
   alone is tried together.
7. What is nearly as fast as the fastest runs once more, longer.

Two plans whose ratio may be 1 are equal; of equal ones the one with less noise is taken. So nothing
is handed out that is slower than float, or than integers throughout where these are good enough,
beyond noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.damage import DamageMeter, damages
from compiler_core.precision.proposals import FLOAT, FULL_INT8, FormatProposer, PrecisionPlan
from compiler_core.precision.table import PartTimer, PrecisionTable, measure_table
from compiler_core.precision.verified import PlanTimer, VerifiedPlan, contenders, fastest
from compiler_core.quantize.precisions import (
    Rounding,
    timed_as,
    with_narrow_weights,
    with_rounding,
)
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.sums import float_sum
from compiler_core.units.names import CPU

_ROOMS = (0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.005)
"""Noise that plans may have, as shares of what the optimum without a limit has."""
_DESTROYED = 0.05
"""Noise, as a share of the outputs' power, beyond which a plan is worth a try at last."""
_MOST_SCHEMES = 3
"""Ways to find scales by which a plan is judged: those that leave it the least noise. They are
others than with integers throughout where those destroy what they are judged by."""
_HALVINGS = 3
"""Of the gap between a share that is good enough and the next that is not."""
_MOVED = 16
"""Moves of single operators that are timed together."""
_ROUNDS = 3
_BRIEF, _LONG = 11, 101
"""Rounds that tell forms of integers apart that are far from one another, and plans that are
close."""
_NEARLY, _MOST_FORMS = 1.1, 4
"""Forms of integers within this factor of the fastest are among the plans, as many at most."""
_CLOSE, _MOST_CLOSE = 1.03, 4
_HOPE = 0.03
"""A move that should cost more than this share is not timed."""

Progress = Callable[[str], None]
Places = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class PrecisionChoice:
    """What was found for a model.

    Attributes:
        chosen: The plan to take.
        verified: All that were run whole, float and integers throughout among them.
        table: Measured costs.
        room: Noise that plans were held to; ``None`` where none was needed.
        damages: Noise of operators alone, where it was measured.
    """

    chosen: VerifiedPlan
    verified: tuple[VerifiedPlan, ...]
    table: PrecisionTable
    room: float | None
    damages: Mapping[str, Mapping[str, float]]

    @property
    def scheme(self) -> QuantizationScheme:
        """How scales of the chosen plan are found."""
        return self.chosen.scheme

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
        saturates: Whether kernels of the machine saturate sums of products of 8 bits, so that
            weights of 7 bits may lose less.
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
        saturates: bool = False,
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
        self._threads, self._saturates, self._progress = threads, saturates, progress
        self._meters: dict[QuantizationScheme, DamageMeter] = {}

    @cached_property
    def table(self) -> PrecisionTable:
        """Costs of operators and pairs."""
        return measure_table(self._graph, self._ranges, self._parts, self._progress)

    @cached_property
    def proposer(self) -> FormatProposer:
        """Optima of them."""
        return FormatProposer(self.table, self._damages)

    @property
    def scheme(self) -> QuantizationScheme:
        """How scales are found with least noise, with integers throughout."""
        return self.schemes[0]

    @cached_property
    def schemes(self) -> tuple[QuantizationScheme, ...]:
        """Ways to find scales, the one with least noise first."""
        places = self.proposer.throughout()[0].places
        self._progress("how scales are found")
        noises = {scheme: self._least_noise(places, scheme)[0] for scheme in _schemes()}
        return tuple(sorted(noises, key=lambda scheme: noises[scheme]))

    @property
    def _apart(self) -> list[QuantizationScheme]:
        """The best way to find scales with each way to cut ranges."""
        found: dict[RangeMethod, QuantizationScheme] = {}
        for scheme in self.schemes:
            found.setdefault(scheme.activation_range, scheme)
        return list(found.values())

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
        usual = [self._judged(self.proposer.given(FLOAT, {})), *self._throughout()]
        room, first = self._room()
        self._progress("plans of least time")
        plans = self.proposer.proposals(room)
        known = [] if first is None else [first]
        own = [found.scheme for found in known]
        others = [self._judged(p, own) for p in plans if _key(p) not in map(_key, _plans(known))]
        judged = [*usual, *known, *others]
        timed = self._moved(self._timed(judged), len(usual))
        best, timed = self._settled(timed)
        damages = self.proposer.known_damages
        return PrecisionChoice(best, tuple(timed), self.table, room, damages)

    def offers(self) -> list[VerifiedPlan]:
        """Optima of the costs within ever less noise, each with the way to find scales that leaves
        it least; those that destroy the outputs come last, and nothing is judged."""
        plan = self.proposer.best("optimum 1", None)
        if plan is None:
            return []
        whole = self._alone(plan)
        found: list[VerifiedPlan] = []
        for share in (1.0, *_ROOMS):
            plan = self.proposer.best(f"at most {share:.3g} of the noise", share * whole)
            if plan is not None and _key(plan) not in map(_key, _plans(found)):
                found.append(self._quietest(plan)[0])
        return sorted(found, key=lambda offer: offer.noise > _DESTROYED)

    def _alone(self, plan: PrecisionPlan) -> float:
        """Noise of a plan's operators, each alone."""
        known = self.proposer.damages
        return float_sum(known[name][timed_as(place)] for name, place in plan.places.items())

    def _quietest(self, plan: PrecisionPlan) -> list[VerifiedPlan]:
        """A plan with every way to find scales, the one that leaves the least noise first; it is
        not judged."""
        found = []
        for scheme in self.schemes:
            noise, places = self._least_noise(plan.places, scheme)
            found.append(VerifiedPlan(replace(plan, places=places), scheme, noise, True))
        return sorted(found, key=lambda way: way.noise)

    def _throughout(self) -> list[VerifiedPlan]:
        """Integers throughout in the forms that are the fastest by the clock, the fastest first."""
        forms = self.proposer.throughout()
        if len(forms) > 1:
            self._progress(f"forms of int8 throughout by the clock: {len(forms)}")
            graphs = {plan.name: self._graph_of(plan.places, self.scheme) for plan in forms}
            times = self._plans.ratios(graphs, forms[0].name, rounds=_BRIEF)
            forms.sort(key=lambda plan: times[plan.name].ratio.value)
            most = _NEARLY * times[forms[0].name].ratio.value
            forms = [plan for plan in forms if times[plan.name].ratio.value <= most]
        named = [replace(forms[0], name=FULL_INT8), *forms[1:_MOST_FORMS]]
        return [self._judged(plan, self._apart) for plan in named]

    def _judged(
        self, plan: PrecisionPlan, schemes: Sequence[QuantizationScheme] = ()
    ) -> VerifiedPlan:
        """A plan with what it loses, its scales found in the first way by which it is good enough,
        else in the first of all; weights rounded so that it loses least."""
        found: list[VerifiedPlan] = []
        for scheme in schemes or (self.scheme,):
            noise, places = self._least_noise(plan.places, scheme)
            good = not places or self._is_good(places, scheme)
            found.append(VerifiedPlan(replace(plan, places=places), scheme, noise, good))
            if good or not places:
                return found[-1]
        return found[0]

    def _least_noise(
        self, places: Places, scheme: QuantizationScheme
    ) -> tuple[float, dict[str, str]]:
        """Noise of a plan, with weights rounded in the way that leaves least of it."""
        meter = self._meter(scheme)
        narrow = [places]
        if self._saturates:
            narrow.append({name: with_narrow_weights(place) for name, place in places.items()})
        ways = dict.fromkeys(
            tuple((name, with_rounding(place, way)) for name, place in own.items())
            for own in narrow
            for way in Rounding
        )
        noise, found = min((meter.noise(dict(way)), way) for way in ways)
        return noise, dict(found)

    def _room(self) -> tuple[float | None, VerifiedPlan | None]:
        """Noise by which the optimum is good enough, as sums of operators tell it, and that
        optimum."""
        plan = self.proposer.best("optimum 1", None)
        if plan is None:
            return None, None
        found = self._judged(plan, self._apart)
        if found.good:
            return None, found
        whole = self._alone(plan)
        too_much = 1.0
        for share in _ROOMS:
            good = self._within(share, whole)
            if good is not None:
                return self._widened(good, share, too_much, whole)
            too_much = share
        return 0.0, None

    def _within(self, share: float, whole: float) -> VerifiedPlan | None:
        """The optimum within a share of the noise; ``None`` where it loses too much."""
        self._progress(f"plans of at most {share:.3g} of the noise")
        plan = self.proposer.best("optimum 1", share * whole)
        if plan is None:
            return None
        best = self._quietest(plan)[:_MOST_SCHEMES]
        return next(
            (f for f in best if not f.plan.places or self._is_good(f.plan.places, f.scheme)), None
        )

    def _widened(
        self, good: VerifiedPlan, share: float, too_much: float, whole: float
    ) -> tuple[float, VerifiedPlan]:
        """The most of the noise that is found between a share that is good enough and one that
        is not, and its optimum."""
        for _ in range(_HALVINGS):
            between = math.sqrt(share * too_much)
            wider = self._within(between, whole)
            if wider is None:
                too_much = between
            else:
                good, share = wider, between
        return share * whole, good

    def _graph_of(self, places: Places, scheme: QuantizationScheme) -> Graph:
        return self._meter(scheme).lowered(places) if places else self._graph

    def _graphs(self, plans: Sequence[VerifiedPlan]) -> dict[str, Graph]:
        return {f.plan.name: self._graph_of(f.plan.places, f.scheme) for f in plans}

    def _timed(self, judged: Sequence[VerifiedPlan], rounds: int = 0) -> list[VerifiedPlan]:
        self._progress(f"whole models by the clock: {len(judged)}")
        times = self._plans.ratios(self._graphs(judged), FLOAT, rounds=rounds)
        return [replace(found, time=times[found.plan.name]) for found in judged]

    def _moved(self, timed: list[VerifiedPlan], usual: int) -> list[VerifiedPlan]:
        """Plans, among them the fastest improved by moves of single operators that the clock
        confirms; the first ``usual`` are timed with it."""
        best = fastest(timed)
        tried: set[tuple[tuple[str, str], ...]] = set()
        for number in range(_ROUNDS):
            moves = self._moves(best.plan, number, tried)
            own = (best.scheme,)
            good = [found for move in moves if (found := self._judged(move, own)).good]
            if not good:
                break
            self._progress(f"single operators by the clock: {len(good)}")
            times = self._plans.ratios(self._graphs([*good, best]), best.plan.name)
            better = [f for f in good if times[f.plan.name].ratio.high < 1.0]
            if not better:
                break
            better.sort(key=lambda f: times[f.plan.name].ratio.value)
            quickest = better[0]
            known = timed[:usual] if best in timed[:usual] else [*timed[:usual], best]
            together = self._together(best, better, number)
            again = self._timed([*known, quickest, *together])
            timed = [*again, *(f for f in timed[usual:] if f.plan.name != best.plan.name)]
            best = fastest(again)
        return timed

    def _together(
        self, base: VerifiedPlan, better: Sequence[VerifiedPlan], number: int
    ) -> list[VerifiedPlan]:
        """Moves that help alone, made together as long as that is good enough; nothing where it is
        one move alone."""
        joined, moves = better[0], 1
        for move in better[1:]:
            places = {**joined.plan.places, **_changed(move.plan, base.plan)}
            plan = self.proposer.given(f"moves together, {number + 1}", places)
            if (found := self._judged(plan, (base.scheme,))).good:
                joined, moves = found, moves + 1
        return [joined] if moves > 1 else []

    def _settled(self, timed: Sequence[VerifiedPlan]) -> tuple[VerifiedPlan, list[VerifiedPlan]]:
        """The plan to take, after what is nearly as fast as the fastest has run longer, together
        with float."""
        near = contenders(timed, _CLOSE)[:_MOST_CLOSE]
        if len(near) == 1:
            return near[0], list(timed)
        floats = [found for found in timed if found.plan.name == FLOAT and found not in near]
        again = self._timed([*floats, *near], _LONG)
        renewed = {found.plan.name: found for found in again}
        best = fastest(again)
        return best, [renewed.get(found.plan.name, found) for found in timed]

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


def _changed(plan: PrecisionPlan, base: PrecisionPlan) -> dict[str, str]:
    """Places of operators whose formats are others than in ``base``."""
    one, other = plan.places, base.places
    return {
        name: one.get(name, CPU)
        for name in dict.fromkeys([*one, *other])
        if timed_as(one.get(name, CPU)) != timed_as(other.get(name, CPU))
    }


def _plans(found: Sequence[VerifiedPlan]) -> list[PrecisionPlan]:
    return [verified.plan for verified in found]


def _key(plan: PrecisionPlan) -> dict[str, str]:
    """Equal for plans that differ in how weights are rounded alone."""
    return {name: timed_as(place) for name, place in plan.places.items()}


def _schemes() -> list[QuantizationScheme]:
    methods = (RangeMethod.MAX, RangeMethod.MSE, RangeMethod.PERCENTILE, RangeMethod.KL)
    return [
        QuantizationScheme(activation_range=method, bias_correction=corrected)
        for method, corrected in product(methods, (False, True))
    ]


__all__ = ["FULL_INT8", "PrecisionChoice", "PrecisionSearch"]
