"""Samplers that learn nothing: uniform over the legal points, and all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from compiler_core.targets.vta.hardware import VtaCore
from compiler_core.targets.vta.schedule_rows import Rows
from cost_models.features.schedule_bound import schedule_bounds
from nest_tune.samplers.sampler import Point, Problem
from search_spaces.tiling import Points, TilingSpace


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


_UNREAD = ("order", "input_slots", "weight_slots", "output_slots", "micro_ops", "taps")
"""Parameters that the bound of a schedule does not depend on."""
_CHUNK = 1 << 18
_TOGETHER = 64
"""Cores of equal or adjacent bounds that are expanded at a time."""


class ExhaustiveSampler:
    """All points in the order of what no program of theirs can beat; ends with a proof.

    Once the best measured cycles are not above the next point's bound, nothing that is left can be
    better: the best is the optimum of the space. The bound does not depend on slots, loop order,
    micro-ops and taps, so what is put in order are the choices of the other parameters (cores); all
    points of a core are listed when its turn has come, which is never where the proof comes first.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._seen: set[Point] = set()
        self._best = math.inf
        self._points: Iterator[tuple[Point, float]] | None = None
        self.proven = False
        """Whether the best that was observed is the optimum."""

    def propose(self, count: int) -> list[Point]:
        if self._points is None:
            self._points = self._in_order()
        chosen: list[Point] = []
        for point, bound in self._points:
            if bound >= self._best:
                break
            if point not in self._seen:
                self._seen.add(point)
                chosen.append(point)
            if len(chosen) == count:
                return chosen
        self.proven = not chosen
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        for point, cycles in measured:
            self._seen.add(point)
            if cycles is not None:
                self._best = min(self._best, cycles)

    def expected_gain(self) -> float:
        return 0.0 if self.proven else math.inf

    def _in_order(self) -> Iterator[tuple[Point, float]]:
        for points, bounds in points_by_bound(self._problem.space, self._problem.core):
            if bounds[0] >= self._best:
                return
            yield from zip(map(tuple, points.tolist()), bounds.tolist(), strict=True)


def points_by_bound(space: TilingSpace, core: VtaCore) -> Iterator[tuple[Points, Rows]]:
    """All distinct legal points of a space with their bounds in cycles, least bounds first."""
    names = [parameter.name for parameter in space.parameters]
    unread = [axis for axis, name in enumerate(names) if name in _UNREAD]
    read = [axis for axis, name in enumerate(names) if name not in _UNREAD]
    lengths = [len(parameter) for parameter in space.parameters]
    cores, bounds = [], []
    for chunk in _grid(lengths, read):
        legal = chunk[space.legal(chunk)]  # one slot of each needs least
        cores.append(legal)
        bounds.append(schedule_bounds(space.workload, space.rows(legal), core))
    everything, limits = np.concatenate(cores), np.concatenate(bounds)
    order = np.argsort(limits, kind="stable")
    (choices,) = _grid([n if a in unread else 1 for a, n in enumerate(lengths)], unread)
    for start in range(0, len(order), _TOGETHER):
        some = order[start : start + _TOGETHER]
        points = np.repeat(everything[some], len(choices), axis=0)
        points[:, unread] = np.tile(choices[:, unread], (len(some), 1))
        of_points = np.repeat(limits[some], len(choices))
        kept = space.legal(points)
        kept[kept] = (space.canonical(points[kept]) == points[kept]).all(axis=1)
        if kept.any():
            yield points[kept], of_points[kept]


def _grid(lengths: list[int], axes: list[int]) -> Iterator[Points]:
    """The product of some axes, zeros elsewhere."""
    shape = [lengths[axis] for axis in axes]
    for start in range(0, math.prod(shape), _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, math.prod(shape)))
        points = np.zeros((len(numbers), len(lengths)), np.int64)
        points[:, axes] = np.stack(np.unravel_index(numbers, shape), axis=1)
        yield points
