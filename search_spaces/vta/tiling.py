"""The tiling space of a task: which schedules there are, and which are near one another.

A point is one index per parameter. Of points that lower to the same program only one, the
canonical one, belongs to the space. What is legal is what the lowering accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import prod

import numpy as np

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.digest import digest
from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.schedule.schedule_rows import (
    CONV_ENUMS,
    Rows,
    from_row,
    position,
    to_row,
)
from search_spaces.parameter import Parameter, Points, RuleCount
from search_spaces.vta._tiling_rules import Mask, broken_rules, canonical_rows, rule_names
from search_spaces.vta._tiling_tables import parameters_of

__all__ = ["Parameter", "Points", "RuleCount", "TilingSpace"]

_CHUNK = 1 << 18
_FREE = ("order", "epilogue", "micro_ops", "taps")
"""Parameters that no rule of legality reads."""
_EXCHANGES = (
    ("tile_height", "tile_width"),
    ("tile_out_blocks", "tile_in_blocks"),
    ("input_slots", "weight_slots"),
    ("input_slots", "output_slots"),
    ("tile_height", "tile_out_blocks"),
    ("tile_height", "tile_in_blocks"),
    ("tile_in_blocks", "input_slots"),
    ("tile_in_blocks", "weight_slots"),
    ("tile_out_blocks", "weight_slots"),
    ("tile_height", "input_slots"),
)
"""Pairs that share a buffer: one may grow where the other shrinks."""


class TilingSpace:
    """All schedules of one workload.

    Args:
        workload: What is scheduled.
        geometry: Buffers that a schedule has to fit.

    Attributes:
        parameters: The decisions, in the order of the schedule's fields.
    """

    def __init__(self, workload: Workload, geometry: VtaGeometry) -> None:
        self.workload = workload
        self.geometry = geometry
        self.parameters = parameters_of(workload)
        self._names = tuple(parameter.name for parameter in self.parameters)
        self._tables = [
            np.array([position(v) if p.name in CONV_ENUMS else v for v in p.values], dtype=np.int64)
            for p in self.parameters
        ]
        self._lengths = np.array([len(p) for p in self.parameters], np.int64)

    @cached_property
    def digest(self) -> str:
        """Key of the space: parameters, tables, workload and buffers."""
        return digest((self.workload, self.geometry, self.parameters))

    @property
    def product_size(self) -> int:
        """Points of the full product, legal or not."""
        return prod(len(parameter) for parameter in self.parameters)

    @cached_property
    def size(self) -> int:
        """Distinct legal points."""
        axes = [i for i, name in enumerate(self._names) if name not in _FREE]
        free = [i for i, name in enumerate(self._names) if name in _FREE]
        total = 0
        for judged in self._grid(axes):
            points = judged[self.legal(judged)]
            points = points[(self.canonical(points)[:, axes] == points[:, axes]).all(axis=1)]
            # The free parameters do not depend on one another, so their choices multiply.
            choices = np.ones(len(points), np.int64)
            for axis in free:
                choices *= self._distinct_choices(points, axis)
            total += int(choices.sum())
        return total

    def _distinct_choices(self, points: Points, axis: int) -> Rows:
        count = np.zeros(len(points), np.int64)
        for index in range(len(self.parameters[axis])):
            changed = points.copy()
            changed[:, axis] = index
            count += self.canonical(changed)[:, axis] == index
        return count

    def rows(self, points: Points) -> Rows:
        """Values of points, ``int64[n, columns]``: what cost models read."""
        columns = [table[points[:, i]] for i, table in enumerate(self._tables)]
        return np.stack(columns).T

    def points(self, rows: Rows) -> Points:
        """Inverse of :meth:`rows` for values that are in the tables."""
        columns = [np.searchsorted(table, rows[:, i]) for i, table in enumerate(self._tables)]
        return np.stack(columns, axis=1)

    def encode(self, schedule: Schedule) -> tuple[int, ...]:
        """The canonical point of a schedule.

        Raises:
            InputError: A value is in no table.
            TypeError: The schedule is for another kind of workload.
        """
        row = to_row(schedule)
        if len(row) != len(self.parameters):
            kind = type(self.workload).__name__
            raise TypeError(f"{type(schedule).__name__} does not schedule a {kind}")
        values = [getattr(schedule, name) for name in self._names]
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.index(value)
        point = self.points(np.array([row], np.int64))
        return tuple(self.canonical(point)[0].tolist())

    def decode(self, point: tuple[int, ...] | Points) -> Schedule:
        """The schedule of a point."""
        return from_row(self.workload, self.rows(np.array([point], np.int64))[0])

    def legal(self, points: Points) -> Mask:
        """Whether each point's schedule can be lowered."""
        broken = broken_rules(self.workload, self.rows(points), self.geometry)
        return np.asarray(~broken.any(axis=1))

    def canonical(self, points: Points) -> Points:
        """The points that stand for the given ones."""
        return self.points(canonical_rows(self.workload, self.rows(points), self._cap))

    def is_legal(self, point: tuple[int, ...]) -> bool:
        """Whether one point's schedule can be lowered."""
        return bool(self.legal(np.array([point], np.int64))[0])

    def _cap(self, name: str, demand: Rows) -> Rows:
        table = self._tables[self._names.index(name)]
        places = np.minimum(np.searchsorted(table, demand), len(table) - 1)
        return np.asarray(table[places], np.int64)

    def enumerate(self) -> Iterator[Points]:
        """All distinct legal points, chunk by chunk, always in the same order."""
        bound = [i for i, name in enumerate(self._names) if name not in _FREE]
        free = [i for i, name in enumerate(self._names) if name in _FREE]
        for judged in self._grid(bound):
            legal = judged[self.legal(judged)]
            for chosen in self._grid(free):
                for start in range(0, len(legal), max(1, _CHUNK // len(chosen))):
                    part = legal[start : start + max(1, _CHUNK // len(chosen))]
                    points = np.repeat(part, len(chosen), axis=0)
                    points[:, free] = np.tile(chosen[:, free], (len(part), 1))
                    points = points[(self.canonical(points) == points).all(axis=1)]
                    if len(points):
                        yield points

    @cached_property
    def _all(self) -> Points:
        """Every point of a small space."""
        nothing = np.zeros((0, len(self.parameters)), np.int64)
        return np.concatenate([nothing, *self.enumerate()])

    def _grid(self, axes: list[int]) -> Iterator[Points]:
        lengths = self._lengths[axes]
        total = int(np.prod(lengths))
        for start in range(0, total, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, total))
            points = np.zeros((len(numbers), len(self.parameters)), np.int64)
            for axis, length in zip(reversed(axes), reversed(lengths.tolist()), strict=True):
                numbers, points[:, axis] = np.divmod(numbers, length)
            yield points

    def sample(self, generator: np.random.Generator, count: int) -> Points:
        """Distinct legal points, each equally likely; fewer where the space is nearly that small.

        Raises:
            InfeasibleError: The space is empty.
        """
        found = np.zeros((0, len(self.parameters)), np.int64)
        if self.product_size <= _CHUNK and len(self._all):
            return generator.permutation(self._all)[:count]
        barren = 0
        for attempt in range(24):
            if barren == 3:
                break
            size = min(_CHUNK, max(4096, 32 * count) << min(attempt, 4))
            points = self._draw(generator, size)
            points = points[self._is_canonical(points)]
            points = points[self.legal(points)]
            before = len(found)
            found = np.concatenate([found, points])
            numbers = np.ravel_multi_index(tuple(found.T), tuple(self._lengths))
            found = found[np.sort(np.unique(numbers, return_index=True)[1])]
            barren = barren + 1 if len(found) == before else 0
            if len(found) >= count:
                return found[:count]
        if len(found) == 0:
            found = next(self.enumerate(), found)[:count]
            if len(found) == 0:
                self.require_not_empty()
        return found

    def _draw(self, generator: np.random.Generator, count: int) -> Points:
        """Points of the product, legal or not."""
        # Column by column: several times faster than rows, in the drawing and in what reads them.
        columns = [generator.integers(0, n, count, np.int32) for n in self._lengths.tolist()]
        return np.asarray(np.stack(columns).T, np.int64)

    def _is_canonical(self, points: Points) -> Mask:
        rows = self.rows(points)
        return np.asarray((canonical_rows(self.workload, rows, self._cap) == rows).all(axis=1))

    def neighbours(self, point: tuple[int, ...]) -> Points:
        """Legal points one decision away: a step of one parameter, or a step up of one and down of
        another that shares its buffer."""
        start = np.array([point], np.int64)
        points = self.around(start)
        return np.asarray(points[(points != start).any(axis=1)], np.int64)

    def around(self, points: Points) -> Points:
        """The neighbours of all of the points, each once."""
        moved = points[:, None, :] + self._moves
        ordered = np.array([p.ordered for p in self.parameters])
        moved = np.where(ordered, moved, moved % self._lengths)
        moved = moved.reshape(-1, len(self.parameters))
        moved = moved[((moved >= 0) & (moved < self._lengths)).all(axis=1)]
        return unique_points(self.canonical(moved[self.legal(moved)]))

    @cached_property
    def _moves(self) -> Points:
        """What is added to a point; indices of parameters without an order wrap round."""
        moves = []
        for axis, parameter in enumerate(self.parameters):
            steps = (-1, 1) if parameter.ordered else range(1, len(parameter))
            moves += [{axis: step} for step in steps]
        for one, two in _EXCHANGES:
            if one in self._names and two in self._names:
                first, second = self._names.index(one), self._names.index(two)
                moves += [{first: step, second: -step} for step in (-2, -1, 1, 2)]
        changes = np.zeros((len(moves), len(self.parameters)), np.int64)
        for number, move in enumerate(moves):
            for axis, step in move.items():
                changes[number, axis] = step
        return changes

    def pruning(self) -> tuple[RuleCount, ...]:
        """How many points each rule removes, in the order in which they are applied."""
        bound = [i for i, name in enumerate(self._names) if name not in _FREE]
        free = prod(len(p) for p in self.parameters if p.name in _FREE)
        names = rule_names(self.workload)
        removed = np.zeros(len(names), np.int64)
        left = self.product_size
        for points in self._grid(bound):
            broken = broken_rules(self.workload, self.rows(points), self.geometry)
            first = np.argmax(broken, axis=1)[broken.any(axis=1)]
            removed += np.bincount(first, minlength=len(names)) * free
        counts = []
        for name, number in zip(names, removed.tolist(), strict=True):
            left -= number
            counts.append(RuleCount(name, number, left))
        counts.append(RuleCount("duplicate", left - self.size, self.size))
        return tuple(counts)

    def require_not_empty(self) -> None:
        """Refuses a space without a legal point.

        Raises:
            InfeasibleError: Names the rules that emptied it.
        """
        if next(self.enumerate(), None) is not None:
            return
        rules = [count for count in self.pruning() if count.removed]
        text = ", ".join(f"{count.rule} removes {count.removed:,}" for count in rules)
        raise InfeasibleError(
            f"no schedule of {self.workload.operator} is legal: of {self.product_size:,} points "
            f"{text}; none is left",
            hint="use a target with larger buffers",
        )


def unique_points(points: Points) -> Points:
    """Points without repetition, in the order of their first appearance."""
    _, first = np.unique(points, axis=0, return_index=True)
    return np.asarray(points[np.sort(first)], np.int64)
