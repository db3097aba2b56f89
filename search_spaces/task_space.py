"""The space of a task: which schedules there are, and which are near one another.

A point is one index per parameter. Of points that lower to the same program only one, the
canonical one, belongs to the space. What is legal is what the lowering accepts. Parameters, rules
and schedules are a kind's own (:class:`TaskSpaces`); everything else is the same for all kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.digest import digest
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule, TaskWorkload
from search_spaces.parameter import Parameter, Points, RuleCount

Rows = npt.NDArray[np.int64]
"""``int64[n, parameters]``: values, and positions of members in their enumerations."""
Mask = npt.NDArray[np.bool_]
Cap = Callable[[str, Rows], Rows]
"""Smallest value in a parameter's table that is at least the number given."""

_CHUNK = 1 << 18
_TOGETHER = 1 << 13
"""Points that are judged at a time: a rule takes a dozen times their size."""


@dataclass(frozen=True)
class Coarse:
    """Where a guided search may begin: the product of some parameters, each with a few choices of
    the others.

    Attributes:
        axes: Numbers of the parameters whose product is taken.
        variants: Index by number of a parameter, of others; those not named have index 0.
    """

    axes: tuple[int, ...]
    variants: tuple[Mapping[int, int], ...] = ({},)


@dataclass(frozen=True)
class SpaceTables:
    """What spans the space of a workload.

    Attributes:
        parameters: The decisions; each sets the field of the schedule that has its name. Tables
            ascend, members of an enumeration in its order.
        rules: Names of the rules that points can break.
        limits: What those rules read of the machine.
        free: Parameters that no rule reads and that no canonical form of others depends on.
        exchanges: Pairs of parameters that share a resource: one may grow where the other shrinks.
        leading: Parameters, from the first one on, that say most of what a schedule does.
        coarse: Where a guided search begins; ``None`` for nowhere in particular.
    """

    parameters: tuple[Parameter, ...]
    rules: tuple[str, ...]
    limits: Any
    free: tuple[str, ...] = ()
    exchanges: tuple[tuple[str, str], ...] = ()
    leading: int = 1
    coarse: Coarse | None = None


@runtime_checkable
class TaskSpaces(Protocol):
    """The facet ``spaces`` of a kind of unit: what spans the spaces of its tasks."""

    def tables(self, workload: Any, machine: Any) -> SpaceTables:
        """Parameters and rules of a workload's schedules."""
        ...

    def broken(self, workload: Any, rows: Rows, limits: Any) -> Mask:
        """Which rules each schedule breaks, ``bool[n, rules]``.

        Args:
            workload: What is scheduled.
            rows: ``int64[n, parameters]`` of values that the tables hold.
            limits: As in the tables.
        """
        ...

    def canonical(self, workload: Any, rows: Rows, cap: Cap) -> Rows:
        """Of all schedules with the same program the one that stands for them."""
        ...

    def schedule(self, workload: Any, values: Mapping[str, Any]) -> Any:
        """The schedule with a value per parameter."""
        ...


def task_space(workload: TaskWorkload, machine: Machine) -> TaskSpace:
    """The space of a workload on a machine.

    Raises:
        InputError: The machine's kind has no spaces.
    """
    spaces: TaskSpaces = kind_of_machine(machine).facet("spaces", TaskSpaces)
    return TaskSpace(workload, spaces, spaces.tables(workload, machine))


class TaskSpace:
    """All schedules of one workload.

    Args:
        workload: What is scheduled.
        spaces: What the kind says of its schedules.
        tables: Parameters and rules.

    Attributes:
        parameters: The decisions, in the order of the tables.
    """

    def __init__(self, workload: Any, spaces: TaskSpaces, tables: SpaceTables) -> None:
        self.workload = workload
        self.tables = tables
        self.parameters = tables.parameters
        self._spaces = spaces
        self._names = tuple(parameter.name for parameter in self.parameters)
        self._tables = [
            np.array([_number(value) for value in p.values], dtype=np.int64)
            for p in self.parameters
        ]
        self._lengths = np.array([len(p) for p in self.parameters], np.int64)

    @cached_property
    def digest(self) -> str:
        """Key of the space: parameters, tables, workload and what rules read of the machine."""
        return digest((self.workload, self.tables.limits, self.parameters))

    @property
    def product_size(self) -> int:
        """Points of the full product, legal or not."""
        return prod(len(parameter) for parameter in self.parameters)

    @cached_property
    def size(self) -> int:
        """Distinct legal points."""
        axes = [i for i, name in enumerate(self._names) if name not in self.tables.free]
        free = [i for i, name in enumerate(self._names) if name in self.tables.free]
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

    @cached_property
    def _schedule_type(self) -> type[Any]:
        return type(self.decode((0,) * len(self.parameters)))

    def holds(self, schedule: TaskSchedule) -> bool:
        """Whether a schedule is of the type that the points stand for; its values may be in no
        table."""
        return type(schedule) is self._schedule_type

    def row(self, schedule: TaskSchedule) -> tuple[int, ...]:
        """A schedule as integers, in the order of the parameters.

        Raises:
            TypeError: It is of another type.
        """
        if not self.holds(schedule):
            kind = type(self.workload).__name__
            raise TypeError(f"{type(schedule).__name__} does not schedule a {kind}")
        return tuple(_number(getattr(schedule, name)) for name in self._names)

    def rows_of(self, schedules: Sequence[TaskSchedule]) -> Rows:
        """Schedules as ``int64[n, parameters]``; see :meth:`row`."""
        rows = [self.row(schedule) for schedule in schedules]
        return np.array(rows, np.int64).reshape(len(rows), len(self.parameters))

    def encode(self, schedule: TaskSchedule) -> tuple[int, ...]:
        """The canonical point of a schedule.

        Raises:
            InputError: A value is in no table.
            TypeError: The schedule is for another kind of workload.
        """
        row = self.row(schedule)
        for parameter in self.parameters:
            parameter.index(getattr(schedule, parameter.name))
        point = self.points(np.array([row], np.int64))
        return tuple(self.canonical(point)[0].tolist())

    def decode(self, point: Sequence[int]) -> Any:
        """The schedule of a point."""
        chosen = zip(self.parameters, point, strict=True)
        values = {parameter.name: parameter.values[index] for parameter, index in chosen}
        return self._spaces.schedule(self.workload, values)

    def legal(self, points: Points) -> Mask:
        """Whether each point's schedule can be lowered."""
        return _by_parts(self._legal, points)

    def _legal(self, points: Points) -> Mask:
        broken = self._spaces.broken(self.workload, self.rows(points), self.tables.limits)
        return np.asarray(~broken.any(axis=1))

    def canonical(self, points: Points) -> Points:
        """The points that stand for the given ones."""
        return _by_parts(self._canonical, points)

    def _canonical(self, points: Points) -> Points:
        return self.points(self._spaces.canonical(self.workload, self.rows(points), self._cap))

    def is_canonical(self, points: Points) -> Mask:
        """Whether each point stands for itself."""
        return _by_parts(self._is_canonical, points)

    def is_legal(self, point: tuple[int, ...]) -> bool:
        """Whether one point's schedule can be lowered."""
        return bool(self.legal(np.array([point], np.int64))[0])

    def _cap(self, name: str, demand: Rows) -> Rows:
        table = self._tables[self._names.index(name)]
        places = np.minimum(np.searchsorted(table, demand), len(table) - 1)
        return np.asarray(table[places], np.int64)

    def enumerate(self) -> Iterator[Points]:
        """All distinct legal points, chunk by chunk, always in the same order."""
        bound = [i for i, name in enumerate(self._names) if name not in self.tables.free]
        free = [i for i, name in enumerate(self._names) if name in self.tables.free]
        for judged in self._grid(bound):
            legal = judged[self.legal(judged)]
            for chosen in self._grid(free):
                for start in range(0, len(legal), max(1, _CHUNK // len(chosen))):
                    part = legal[start : start + max(1, _CHUNK // len(chosen))]
                    points = np.repeat(part, len(chosen), axis=0)
                    points[:, free] = np.tile(chosen[:, free], (len(part), 1))
                    points = points[self.is_canonical(points)]
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
            return self._all[generator.permutation(len(self._all))[:count]]
        barren = 0
        for attempt in range(24):
            if barren == 3:
                break
            size = min(_CHUNK, max(4096, 32 * count) << min(attempt, 4))
            points = self._draw(generator, size)
            points = points[self.is_canonical(points)]
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
        return np.asarray(
            (self._spaces.canonical(self.workload, rows, self._cap) == rows).all(axis=1)
        )

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
        for one, two in self.tables.exchanges:
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
        bound = [i for i, name in enumerate(self._names) if name not in self.tables.free]
        free = prod(len(p) for p in self.parameters if p.name in self.tables.free)
        names = self.tables.rules
        removed = np.zeros(len(names), np.int64)
        left = self.product_size
        for points in self._grid(bound):
            broken = self._spaces.broken(self.workload, self.rows(points), self.tables.limits)
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


_Judged = TypeVar("_Judged", bound=npt.NDArray[Any])


def _by_parts(judge: Callable[[Points], _Judged], points: Points) -> _Judged:
    """What a judgement of each point by itself gives for all, in little memory."""
    if len(points) <= _TOGETHER:
        return judge(points)
    starts = range(0, len(points), _TOGETHER)
    return cast("_Judged", np.concatenate([judge(points[n : n + _TOGETHER]) for n in starts]))


def unique_points(points: Points) -> Points:
    """Points without repetition, in the order of their first appearance."""
    _, first = np.unique(points, axis=0, return_index=True)
    return np.asarray(points[np.sort(first)], np.int64)


def _number(value: Any) -> int:
    """An integer, or the position of a member in its enumeration."""
    return _members(type(value)).index(value) if isinstance(value, Enum) else int(value)


@lru_cache(maxsize=64)
def _members(kind: type[Enum]) -> tuple[Enum, ...]:
    return tuple(kind)
