"""The plan of number formats that this machine runs fastest within a limit on what it loses.

1. Operators and pairs are measured (:mod:`compiler_core.precision.table`).
2. Ways to find scales are ordered by the noise of integers throughout.
3. Every form of integers throughout that may be the fastest runs whole, by the clock.
4. The optimum of the costs is judged. Where it loses too much however scales are found, what each
   operator does alone is measured, and the room for noise shrinks until the optimum within it is
   good enough with the scales that leave it the least noise; then it grows as far as that lasts
   (:mod:`compiler_core.precision.rooms`).
5. That optimum, plans near it, float and the fastest forms of integers throughout run whole,
   interleaved by the clock; those of integers with scales found in the first way by which they are
   good enough.
6. Single operators of the fastest are moved, as long as the clock says that it helps; what helps
   alone is tried together (:mod:`compiler_core.precision.moves`).
7. What is nearly as fast as the fastest runs once more, longer.

Two plans whose ratio may be 1 are equal; of equal ones the one with less noise is taken. So nothing
is handed out that is slower than float, or than integers throughout where these are good enough,
beyond noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.damage import damages
from compiler_core.precision.judge import IsGood, Places, PlanJudge
from compiler_core.precision.moves import OperatorMoves
from compiler_core.precision.proposals import FLOAT, FULL_INT8, FormatProposer
from compiler_core.precision.rooms import NoiseRooms, formats
from compiler_core.precision.table import PartTimer, PrecisionTable, measure_table
from compiler_core.precision.verified import PlanTimer, VerifiedPlan, contenders, fastest
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod

_BRIEF, _LONG = 11, 101
"""Rounds that tell forms of integers apart that are far from one another, and plans that are
close."""
_NEARLY, _MOST_FORMS = 1.1, 4
"""Forms of integers within this factor of the fastest are among the plans, as many at most."""
_CLOSE, _MOST_CLOSE = 1.03, 4

Progress = Callable[[str], None]


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
        self._parts, self._plans, self._progress = parts, plans, progress
        self._judge = PlanJudge(
            graph, self._ranges, samples, is_good, threads=threads, saturates=saturates
        )

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
        noises = {scheme: self._judge.least_noise(places, scheme)[0] for scheme in _schemes()}
        return tuple(sorted(noises, key=lambda scheme: noises[scheme]))

    @property
    def _apart(self) -> list[QuantizationScheme]:
        """The best way to find scales with each way to cut ranges."""
        found: dict[RangeMethod, QuantizationScheme] = {}
        for scheme in self.schemes:
            found.setdefault(scheme.activation_range, scheme)
        return list(found.values())

    def _damages(self) -> Mapping[str, Mapping[str, float]]:
        meter = self._judge.meter(self.scheme)
        return damages(self._graph, self.table.kept, meter, self._progress)

    def noise(self, places: Places, scheme: QuantizationScheme) -> float:
        """Noise of the outputs under a plan, as a share of their power."""
        return self._judge.meter(scheme).noise(places)

    def _rooms(self) -> NoiseRooms:
        return NoiseRooms(self._judge, self.proposer, self.schemes, self._progress)

    def choose(self) -> PrecisionChoice:
        """The plan to take."""
        floats = self._judge.judged(self.proposer.given(FLOAT, {}), (self.scheme,))
        usual = [floats, *self._throughout()]
        room, first = self._rooms().widest(self._apart)
        self._progress("plans of least time")
        plans = self.proposer.proposals(room)
        known = [] if first is None else [first]
        seen = [formats(found.plan) for found in known]
        own = [found.scheme for found in known] or [self.scheme]
        others = [self._judge.judged(plan, own) for plan in plans if formats(plan) not in seen]
        moves = OperatorMoves(
            self._judge, self.table, self.proposer, self._plans, self._timed, self._progress
        )
        timed = moves.improved(self._timed([*usual, *known, *others]), len(usual))
        best, timed = self._settled(timed)
        damages = self.proposer.known_damages
        return PrecisionChoice(best, tuple(timed), self.table, room, damages)

    def offers(self) -> list[VerifiedPlan]:
        """See :meth:`compiler_core.precision.rooms.NoiseRooms.offers`."""
        return self._rooms().offers()

    def _throughout(self) -> list[VerifiedPlan]:
        """Integers throughout in the forms that are the fastest by the clock, the fastest first."""
        forms = self.proposer.throughout()
        if len(forms) > 1:
            self._progress(f"forms of int8 throughout by the clock: {len(forms)}")
            graphs = {plan.name: self._judge.graph_of(plan.places, self.scheme) for plan in forms}
            times = self._plans.ratios(graphs, forms[0].name, rounds=_BRIEF)
            forms.sort(key=lambda plan: times[plan.name].ratio.value)
            most = _NEARLY * times[forms[0].name].ratio.value
            forms = [plan for plan in forms if times[plan.name].ratio.value <= most]
        named = [replace(forms[0], name=FULL_INT8), *forms[1:_MOST_FORMS]]
        return [self._judge.judged(plan, self._apart) for plan in named]

    def _timed(self, judged: Sequence[VerifiedPlan], rounds: int = 0) -> list[VerifiedPlan]:
        self._progress(f"whole models by the clock: {len(judged)}")
        times = self._plans.ratios(self._judge.graphs(judged), FLOAT, rounds=rounds)
        return [replace(found, time=times[found.plan.name]) for found in judged]

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


def _schemes() -> list[QuantizationScheme]:
    methods = (RangeMethod.MAX, RangeMethod.MSE, RangeMethod.PERCENTILE, RangeMethod.KL)
    return [
        QuantizationScheme(activation_range=method, bias_correction=corrected)
        for method, corrected in product(methods, (False, True))
    ]
