"""The sampler that learns nothing: uniform over the legal points."""

from __future__ import annotations

import math

import numpy as np

from nest_tune.samplers.schedules.sampler import Point, Problem


class RandomSampler:
    """Distinct legal points, each equally likely."""

    def __init__(self, problem: Problem) -> None:
        self._space = problem.space
        self._generator = np.random.default_rng([problem.seed, 0x7AD0])
        self._seen: set[Point] = set()

    def propose(self, count: int) -> list[Point]:
        chosen: list[Point] = []
        for attempt in range(8):
            for row in self._space.sample(self._generator, 2 * count << attempt).tolist():
                point = tuple(row)
                if point not in self._seen and len(chosen) < count:
                    self._seen.add(point)
                    chosen.append(point)
            if len(chosen) == count:
                break
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        self._seen.update(point for point, _ in measured)

    def expected_gain(self) -> float:
        return math.inf
