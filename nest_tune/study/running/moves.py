"""Proposals that follow from the trials so far by reckoning: schemes, repairs, the last step.

All are pure functions of the trials that a proposal may know. What they cost, one evaluation on few
samples per scheme or operator that may move, is spent on workers, once for a study or per trial
that is moved from, and kept with their results, so that a resume and a replay find it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from math import inf

from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod, WeightRounding
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.units.names import CPU
from nest_tune.samplers.registry import configuration_sampler
from nest_tune.scheme_search.search import npu_grid
from nest_tune.study.choice.last_step import MOVE, OF, last_step
from nest_tune.study.choice.repair import Base, bases, moves_of, plans
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.proposals.problem import Asked
from nest_tune.study.running.noises import Noises, NotYetError
from nest_tune.study.running.precision_moves import PrecisionMoves
from nest_tune.study.store.ground import Ground
from nest_tune.study.trial import OuterTrial, Point
from nest_tune.study.tuning.seam import TunedTask
from search_spaces.joint import SpacePart
from search_spaces.quantization import QuantizationSpace

_EVERY = 3
"""One proposal in so many may be a repair."""

_SCHEMES, _SCHEMES_EVERY = 8, 8
"""So many schemes of the grid are tried, but no more than one trial in so many."""
_ROUNDED = 3
"""Schemes that are tried with weights that calibration samples round, too."""

_SAMPLES = 100
_FEWEST = 16
"""Samples that noise is measured on; with fewer it says too little."""

_WORK = 1 << 38
"""Multiplications that the noises of one trial's moves may take: some twenty seconds."""


class Moves:
    """What is tried in the place of a sampler's proposal.

    Args:
        ground: What the study stands on.
        noises: Measures on workers.
        tasks: Of the study, by name.
    """

    def __init__(
        self,
        ground: Ground,
        noises: Noises,
        tasks: Callable[[], Mapping[str, TunedTask]] = dict,
    ) -> None:
        self._ground, self._measured, self._problem = ground, noises, ground.problem
        self._settings = ground.settings
        self._precisions = None
        if ground.are_sources:
            noise = partial(self._noises, most=_SAMPLES, moves=False)
            self._precisions = PrecisionMoves(ground, SourceBench(ground.subjects), tasks, noise)
        self._known: dict[tuple[int, bool], list[Point]] = {}
        self._is_exhaustive = configuration_sampler(self._settings.sampler).exhausts

    def __call__(
        self, trials: Sequence[OuterTrial], seen: set[Point], number: int, budget: int
    ) -> Asked | None:
        """A point, and why it is tried; ``None`` where the sampler is to be asked.

        Args:
            trials: That the proposal may know.
            seen: Points of all earlier proposals.
            number: Of the trial.
            budget: Of all trials.

        Raises:
            NotYetError: What this needs to know is being measured.
        """
        if self._is_exhaustive:
            return None
        if self._measured.under_way:  # asked for by this proposal before
            raise NotYetError
        found = last_step(
            self._problem,
            trials,
            seen,
            left=budget - number,
            budget=budget,
            rule=self._settings.pick,
            metric=self._settings.metric,
        )
        if found is None and self._precisions is not None:
            found = self._precisions(trials, seen)
        elif found is None and number > 1:
            found = self._scheme(seen, budget)
        if found is None and number % _EVERY == 0:
            found = self._repair(trials, seen)
        return found

    def _scheme(self, seen: set[Point], budget: int) -> Asked | None:
        """What a search of schemes would look at in full: those with the least noise on few
        samples."""
        most = min(_SCHEMES, budget // _SCHEMES_EVERY)
        for point in self._schemes[:most]:
            if point not in seen:
                return point, {MOVE: "scheme with little noise", OF: 0}
        return None

    @cached_property
    def _schemes(self) -> list[Point]:
        """The schemes of the grid in the order of their noise, those that calibration samples round
        behind the nearest ones that they come from."""
        space, target = self._problem.space, self._ground.target
        parts = dict(zip((part.name for part in space.parts), space.blocks, strict=True))
        part = next((p for p in space.parts if isinstance(p, QuantizationSpace)), None)
        if part is None or not target.npu_cores or self._settings.evaluation is None:
            return []
        at = parts[part.name]

        def placed(scheme: QuantizationScheme) -> Point:
            own = part.point(scheme, nearest=True)
            return (*space.default[: at.start], *own, *space.default[at.stop :])

        # By powers of two divergence clips where the squared error does.
        grid = [s for s in npu_grid() if s.activation_range is not RangeMethod.KL]
        points = list(dict.fromkeys(placed(scheme) for scheme in grid))
        points = [point for point in points if space.is_legal(point)]
        noises = self._noises(points[0], points[1:], _FEWEST, moves=False) if points else None
        if noises is None:
            return []
        order = sorted(range(len(points)), key=lambda number: (noises[number], number))
        found: dict[Point, None] = {}
        kept: set[float] = set()
        for number in order:
            if noises[number] in kept:  # the same integers
                continue
            kept.add(noises[number])
            scheme = part.scheme(points[number][at])
            rounded = placed(replace(scheme, weight_rounding=WeightRounding.GPTQ))
            ways = (points[number], rounded) if len(kept) <= _ROUNDED else (points[number],)
            found.update(dict.fromkeys(way for way in ways if space.is_legal(way)))
        return list(found)

    @cached_property
    def _parts(self) -> tuple[slice, slice, SpacePart] | None:
        """Where schemes and placements stand in a point, and the part of placements."""
        space = self._problem.space
        found = {p.name: (block, p) for block, p in zip(space.blocks, space.parts, strict=True)}
        if "quantization" not in found or "partition" not in found:
            return None
        part = found["partition"][1]
        if self._problem.price(space.default) is None:
            return None
        return found["quantization"][0], found["partition"][0], part

    def _repair(self, trials: Sequence[OuterTrial], seen: set[Point]) -> Asked | None:
        if self._parts is None or self._settings.evaluation is None:
            return None
        for base in bases(self._problem, trials, self._parts[0]):
            key = base.trial.number, base.is_repair
            if key not in self._known:
                self._known[key] = self._plans(base)
            for point in self._known[key]:
                if not self._may_be_best(point, base, trials):
                    continue
                if point not in seen and self._problem.space.is_legal(point):
                    why = "repair" if base.is_repair else "more on the NPU"
                    return point, {MOVE: why, OF: base.trial.number}
        return None

    def _may_be_best(self, point: Point, base: Base, trials: Sequence[OuterTrial]) -> bool:
        """Whether the cost tables leave a point a chance to be better than every trial that keeps
        the limits, and to keep those on costs itself; always where they do not know."""
        goal = self._problem.objectives[0]
        name = goal.metric.value
        expected = self._expected(point, base, name)
        if expected is not None:
            known = [goal.loss(t.metrics[name]) for t in trials if t.is_feasible and t.settled]
            if goal.loss(expected) >= min(known, default=inf):
                return False
        for limit in self._problem.limits:
            expected = self._expected(point, base, limit.metric.value)
            if expected is not None and limit.excess(expected) > 0:
                return False
        return True

    def _expected(self, point: Point, base: Base, metric: str) -> float | None:
        """A cost of a point: that of its base, and what the tables say that it has more."""
        price = self._problem.space.price
        before, after = price(base.trial.point, metric), price(point, metric)
        if before is None or after is None or metric not in base.trial.metrics:
            return None
        return base.trial.metrics[metric] + (after - before)

    def _plans(self, base: Base) -> list[Point]:
        assert self._parts is not None
        _, at, part = self._parts
        point = base.trial.point
        moves = moves_of(part, point[at], base, CPU)
        points = [self._with(point, at, axis, value) for axis, value in moves]
        noises = self._noises(point, points, _SAMPLES, moves=True) if moves else None
        if noises is None:
            return []
        moved = dict(zip(moves, noises[1:], strict=True))
        found = plans(partial(self._price, point, at), point[at], base, noises[0], moved)
        return [(*point[: at.start], *block, *point[at.stop :]) for block in found]

    def _price(self, point: Point, at: slice, block: Point) -> float:
        """Of a point with another placement."""
        return self._problem.price((*point[: at.start], *block, *point[at.stop :])) or 0.0

    def _with(self, point: Point, at: slice, axis: int, value: int) -> Point:
        where = at.start + axis
        return (*point[:where], value, *point[where + 1 :])

    def _noises(
        self, point: Point, points: Sequence[Point], most: int, *, moves: bool
    ) -> list[float] | None:
        """Noise of a point and of others, on ``most`` samples; with ``moves`` of its weights
        elsewhere. ``None`` where that takes too long or cannot be measured."""
        macs = sum(layer_macs(self._ground.model.graph).values())
        samples = min(most, _WORK // max(1, macs * (len(points) + 1)))
        if samples < _FEWEST:
            return None
        return self._measured.of((point, *points), point if moves else None, samples)
