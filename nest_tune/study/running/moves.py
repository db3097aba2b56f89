"""Proposals that follow from the trials so far by reckoning: repairs, and the last step.

Both are pure functions of the trials that a proposal may know. What repairs cost, one evaluation
per operator that may move, is spent here, once per trial that is moved from, and kept with the
results of workers, so that a resume and a replay find it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from compiler_core.errors import NestTuneError
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.tensor.digest import digest
from compiler_core.units.names import CPU
from nest_tune.runners.runner import RUNNERS
from nest_tune.samplers.registry import SAMPLERS
from nest_tune.study.choice.last_step import MOVE, OF, last_step
from nest_tune.study.choice.repair import Base, bases, moves_of, plans
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.noise_of_moves import NoiseMeter
from nest_tune.study.proposals.problem import Asked
from nest_tune.study.store.dependencies import Ground
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import OuterTrial, Point
from search_spaces.joint import Estimating, Part

_EVERY = 3
"""One proposal in so many may be a repair."""

_SAMPLES = 100
_FEWEST = 16
"""Samples that noise is measured on; with fewer it says too little."""

_WORK = 1 << 38
"""Multiplications that the noises of one trial's moves may take: some twenty seconds."""

_VERSION = 1


class Moves:
    """What is tried in the place of a sampler's proposal.

    Args:
        ground: What the study stands on.
        storage: Of results.
    """

    def __init__(self, ground: Ground, storage: StudyStorage) -> None:
        self._ground, self._storage, self._problem = ground, storage, ground.problem
        self._settings = ground.settings
        self._known: dict[tuple[int, bool], list[Point]] = {}
        self._is_exhaustive = SAMPLERS.get(self._settings.sampler).exhausts

    def __call__(
        self, trials: Sequence[OuterTrial], seen: set[Point], number: int, budget: int
    ) -> Asked | None:
        """A point, and why it is tried; ``None`` where the sampler is to be asked.

        Args:
            trials: That the proposal may know.
            seen: Points of all earlier proposals.
            number: Of the trial.
            budget: Of all trials.
        """
        if self._is_exhaustive:
            return None
        found = last_step(
            self._problem,
            trials,
            seen,
            left=budget - number,
            budget=budget,
            rule=self._settings.pick,
            metric=self._settings.metric,
        )
        if found is None and number % _EVERY == 0:
            return self._repair(trials, seen)
        return found

    @cached_property
    def _parts(self) -> tuple[slice, slice, Part] | None:
        """Where schemes and placements stand in a point, and the part of placements."""
        space = self._problem.space
        found = {p.name: (block, p) for block, p in zip(space.blocks, space.parts, strict=True)}
        if "quantization" not in found or "partition" not in found:
            return None
        part = found["partition"][1]
        if not isinstance(part, Estimating):
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
                if point not in seen and self._problem.space.is_legal(point):
                    why = "repair" if base.is_repair else "more on the NPU"
                    return point, {MOVE: why, OF: base.trial.number}
        return None

    def _plans(self, base: Base) -> list[Point]:
        assert self._parts is not None
        _, at, part = self._parts
        point = base.trial.point
        moves = moves_of(part, point[at], base, CPU)
        points = [self._with(point, at, axis, value) for axis, value in moves]
        noises = self._noises(point, points) if moves else None
        if noises is None:
            return []
        moved = dict(zip(moves, noises[1:], strict=True))
        found = plans(part, point[at], base, noises[0], moved)
        return [(*point[: at.start], *block, *point[at.stop :]) for block in found]

    def _with(self, point: Point, at: slice, axis: int, value: int) -> Point:
        where = at.start + axis
        return (*point[:where], value, *point[where + 1 :])

    def _noises(self, point: Point, points: Sequence[Point]) -> list[float] | None:
        """Noise of a point and of others that differ from it in one move; ``None`` where that takes
        too long or cannot be measured."""
        macs = sum(layer_macs(self._ground.model.graph).values())
        samples = min(_SAMPLES, _WORK // max(1, macs * (len(points) + 1)))
        if samples < _FEWEST:
            return None
        parts = (self._ground.context, "noises", _VERSION, samples, point, list(points))
        key = digest(parts, 32)
        stored = self._storage.results([key]).get(key)
        if stored is not None:
            return None if stored == "unknown" else [float(noise) for noise in stored]
        if not RUNNERS.get(self._settings.runner).computes:
            return None
        found: Any
        try:
            found = self._measured(point, points, samples)
        except NestTuneError:
            found = "unknown"
        self._storage.add_result(key, found)
        return None if found == "unknown" else list(found)

    def _measured(self, point: Point, points: Sequence[Point], samples: int) -> list[float]:
        space, meter = self._problem.space, NoiseMeter(self._bench, samples)
        base = space.decode(point)
        return [meter.noise(base), *(meter.moved(base, space.decode(other)) for other in points)]

    @cached_property
    def _bench(self) -> Bench:
        return Bench(self._ground.subjects)
