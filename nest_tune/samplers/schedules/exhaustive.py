"""Exhaustive search: all points in the order of what no program of theirs can beat.

Three bounds, each dearer and higher than the one before, thin the space out (see
:class:`~cost_models.task_features.BoundDepth`): the closed form of the parameters that it reads (a
core), one that is valid for all values of some parameters, and that of each point.
What is left is measured, lowest bounds first, until nothing left can be better than the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from compiler_core.units.unit import Machine
from cost_models.task_features import BoundDepth, task_features
from nest_tune.samplers.schedules.sampler import Point, Problem
from search_spaces.parameter import Points
from search_spaces.task_space import Rows, TaskSpace

_CHUNK = 1 << 18
_JUDGED_TOGETHER = 1 << 14
"""Cores whose first bound is taken at a time."""
_WALKED_TOGETHER = 1024
"""Cores whose second bound is taken at a time."""
_EXPANDED_TOGETHER = 64
"""Cores whose points are found in one step."""
_POINTS_TOGETHER = 1 << 13
"""Of these points, those that are judged at a time."""


class PointsByBound:
    """The distinct legal points of a space with their bounds, a part at a time.

    Args:
        space: Whose points.
        machine: Where they run.
    """

    def __init__(self, space: TaskSpace, machine: Machine) -> None:
        self._space, self._machine = space, machine
        self._features = task_features(machine)
        unread = self._features.unread(BoundDepth.CLOSED)
        freed = self._features.unread(BoundDepth.ANY)
        names = [parameter.name for parameter in space.parameters]
        lengths = [len(parameter) for parameter in space.parameters]
        parts = []
        read = [a for a, name in enumerate(names) if name not in unread]
        for chunk in _grid(lengths, read, _JUDGED_TOGETHER):
            legal = chunk[space.legal(chunk)]  # the first value of what is not read needs least
            parts.append((legal, self._bounds(legal, BoundDepth.CLOSED)))
        cores = np.concatenate([points for points, _ in parts])
        bounds = np.concatenate([bounds for _, bounds in parts])
        order = np.argsort(bounds, kind="stable")
        self._cores, self._core_bounds = cores[order], bounds[order]
        self._next = 0
        walked = [a for a, name in enumerate(names) if name in unread and name not in freed]
        self._orders = next(_grid([n if a in walked else 1 for a, n in enumerate(lengths)], walked))
        self._free = [a for a, name in enumerate(names) if name in freed]
        chosen = [n if a in self._free else 1 for a, n in enumerate(lengths)]
        self._choices = next(_grid(chosen, self._free))
        self._kept: Points = self._orders[:0]
        self._kept_bounds = np.zeros(0, np.int64)

    @property
    def least(self) -> float:
        """No point that was not yielded has a lower bound; infinite where none is left."""
        cores = self._core_bounds[self._next :]
        return min(
            float(cores[0]) if len(cores) else math.inf,
            float(self._kept_bounds.min()) if len(self._kept_bounds) else math.inf,
        )

    def take(self, limit: float) -> tuple[Points, Rows]:
        """Some more points with bounds below the limit, perhaps none; drops those above for good.

        Args:
            limit: Never rises from one call to the next.
        """
        if len(self._kept) == 0:
            self._walk(limit)
        some = self._kept[:_EXPANDED_TOGETHER]
        some = some[self._kept_bounds[:_EXPANDED_TOGETHER] < limit]
        self._kept = self._kept[_EXPANDED_TOGETHER:]
        self._kept_bounds = self._kept_bounds[_EXPANDED_TOGETHER:]
        together = max(1, _POINTS_TOGETHER // len(self._choices))
        starts = range(0, len(some), together) or (0,)
        opened = [self._expanded(some[at : at + together], limit) for at in starts]
        points, bounds = zip(*opened, strict=True)
        return np.concatenate(points), np.concatenate(bounds)

    def _expanded(self, cores: Points, limit: float) -> tuple[Points, Rows]:
        """The points of cores with bounds below the limit."""
        points = np.repeat(cores, len(self._choices), axis=0)
        points[:, self._free] = np.tile(self._choices[:, self._free], (len(cores), 1))
        points = points[self._space.legal(points)]
        points = points[self._space.is_canonical(points)]
        bounds = self._bounds(points, BoundDepth.POINT, limit)
        return points[bounds < limit], bounds[bounds < limit]

    def _walk(self, limit: float) -> None:
        """Thins the next cores out by the bound that holds for all values of some parameters."""
        if self._next < len(self._cores) and self._core_bounds[self._next] >= limit:
            self._next = len(self._cores)
        some = self._cores[self._next : self._next + _WALKED_TOGETHER]
        some = some[self._core_bounds[self._next : self._next + _WALKED_TOGETHER] < limit]
        self._next = min(len(self._cores), self._next + _WALKED_TOGETHER)
        points = np.repeat(some, len(self._orders), axis=0) + np.tile(self._orders, (len(some), 1))
        bounds = self._bounds(points, BoundDepth.ANY, limit)
        order = np.argsort(bounds, kind="stable")
        order = order[bounds[order] < limit]
        self._kept, self._kept_bounds = points[order], bounds[order]

    def _bounds(self, points: Points, depth: BoundDepth, limit: float = math.inf) -> Rows:
        rows, whole = self._space.rows(points), None if math.isinf(limit) else int(limit)
        return self._features.bounds(self._space.workload, rows, self._machine, depth, whole)


class ExhaustiveScheduleSampler:
    """Proposes what may still be better than the best, and ends with a proof.

    Parts of the space are opened faster and faster, so that early measurements lower the limit for
    what comes later. Once everything is open, proposals rise in their bounds.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._source: PointsByBound | None = None
        self._points: Points = np.zeros((0, len(problem.space.parameters)), np.int64)
        self._bounds = np.zeros(0, np.int64)
        self._asked: dict[Point, int] = {}
        self._seen: set[Point] = set()
        self._best = math.inf
        self._parts = 1

    def propose(self, count: int) -> list[Point]:
        source = self._source
        if source is None:
            source = self._source = PointsByBound(self._problem.space, self._problem.machine)
        left, self._parts = self._parts, 2 * self._parts
        self._sort()
        while source.least < self._best and (left > 0 or len(self._bounds) < count):
            self._open(*source.take(self._best))
            left -= 1
        self._sort()
        chosen = [tuple(point) for point in self._points[:count].tolist()]
        self._asked.update(zip(chosen, self._bounds[:count].tolist(), strict=True))
        self._points, self._bounds = self._points[count:], self._bounds[count:]
        self._seen.update(chosen)
        return chosen

    def within(self, most: int, parts: int) -> bool:
        """Whether measuring at most so many points proves the best.

        Args:
            most: Points.
            parts: Parts of the space that are opened for an answer at most; a later call goes on.
        """
        source = self._source
        if source is None:
            source = self._source = PointsByBound(self._problem.space, self._problem.machine)
        while parts > 0 and source.least < self._best and len(self._bounds) <= most:
            self._open(*source.take(self._best))
            parts -= 1
        self._sort()
        return source.least >= self._best and len(self._bounds) <= most

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        for point, cycles in measured:
            self._seen.add(point)
            self._asked.pop(point, None)
            if cycles is not None:
                self._best = min(self._best, cycles)

    def expected_gain(self) -> float:
        return 0.0 if self.proven else math.inf

    @property
    def least_cycles(self) -> float:
        """What no schedule of the space can beat, as far as it is known; 0 at the start."""
        if self._source is None:
            return 0.0
        open_ones = min(self._bounds.min(initial=1 << 60), *self._asked.values(), 1 << 60)
        return min(self._best, self._source.least, float(open_ones))

    @property
    def proven(self) -> bool:
        """Whether the best that was observed is the optimum."""
        return self.least_cycles >= self._best

    def _open(self, points: Points, bounds: Rows) -> None:
        new = [tuple(point) not in self._seen for point in points.tolist()]
        self._points = np.concatenate([self._points, points[new]])
        self._bounds = np.concatenate([self._bounds, bounds[new]])

    def _sort(self) -> None:
        """Lowest bounds first, without those that the best rules out or that were measured."""
        order = np.argsort(self._bounds, kind="stable")
        order = order[self._bounds[order] < self._best]
        kept = [n for n in order.tolist() if tuple(self._points[n].tolist()) not in self._seen]
        self._points, self._bounds = self._points[kept], self._bounds[kept]


def _grid(lengths: list[int], axes: list[int], together: int = _CHUNK) -> Iterator[Points]:
    """The product of some axes, zeros elsewhere, so many points at a time."""
    shape = [lengths[axis] for axis in axes]
    for start in range(0, math.prod(shape), together):
        numbers = np.arange(start, min(start + together, math.prod(shape)))
        points = np.zeros((len(numbers), len(lengths)), np.int64)
        if axes:
            points[:, axes] = np.stack(np.unravel_index(numbers, shape), axis=1)
        yield points
