"""The joint space of a model: quantization × partition, with the tilings of its tasks within.

The outer space is a product of parts, each with parameters of its own. Tilings of different tasks
do not interact, so they are no parameters here: each task has a space of its own
(:mod:`search_spaces.vta.tiling`), and an outer point says which tasks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise, product
from math import prod
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.sums import float_sum
from compiler_core.tensor.digest import digest
from search_spaces.parameter import Parameter

T = TypeVar("T")

OuterPoint = tuple[int, ...]
"""Index per parameter."""

Decisions = Mapping[str, Any]
"""Plain values by part: what a point means."""

_DRAWN = 64
"""Random points of which the one closest to the default is taken where that is not admitted."""

_REMEMBERED = 1 << 16
"""Points of a part of which legality and estimate are kept."""


class SpacePart(Protocol):
    """A factor of the outer space: at most four methods beside its constants.

    Attributes:
        name: ``quantization``, ``partition``.
        parameters: Its decisions.
    """

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def default(self) -> OuterPoint:
        """Point of the untuned default."""
        ...

    def decode(self, point: OuterPoint) -> Any:
        """What a point means, as plain values."""
        ...

    def is_legal(self, point: OuterPoint) -> bool:
        """Whether a point exists."""
        ...

    def guesses(self) -> Sequence[OuterPoint]:
        """Points that are likely to be good, the best first."""
        ...


@runtime_checkable
class Estimating(Protocol):
    """A part that can tell roughly what a point of it costs."""

    def estimate(self, point: OuterPoint) -> float:
        """A number that orders points as their cost does."""
        ...


@runtime_checkable
class Pricing(Protocol):
    """A part that can tell roughly what a point of it costs, by more than one measure."""

    def price(self, point: OuterPoint, metric: str) -> float | None:
        """By the name of a metric; ``None`` where it is not known."""
        ...


class JointSpace:
    """The product of parts, or what is admitted of it.

    Args:
        parts: In the order of their parameters.
        admitted: Indices that the search may take, by name of the parameter; of others all. What is
            narrowed keeps its tables and its digest.

    Attributes:
        parts: As given.
        parameters: Of all parts, with names ``part.parameter``.
        default: Point of the untuned default, admitted or not.
        admitted: Indices of each parameter, ascending.
    """

    def __init__(
        self, parts: Sequence[SpacePart], admitted: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self.parts = tuple(parts)
        self.parameters = tuple(
            Parameter(f"{part.name}.{p.name}", p.values, p.ordered)
            for part in self.parts
            for p in part.parameters
        )
        self.default: OuterPoint = tuple(i for part in self.parts for i in part.default)
        given = admitted or {}
        self.admitted: tuple[tuple[int, ...], ...] = tuple(
            tuple(sorted(set(given.get(p.name, range(len(p)))))) for p in self.parameters
        )
        self._narrowed = tuple(
            (axis, frozenset(indices))
            for axis, indices in enumerate(self.admitted)
            if len(indices) < len(self.parameters[axis])
        )
        # Once: whether a part can tell something is dear to ask, and points are many.
        placed = list(zip(self.blocks, self.parts, strict=True))
        self._judging: list[tuple[slice, dict[OuterPoint, bool], Callable[[OuterPoint], bool]]] = [
            (block, {}, part.is_legal) for block, part in placed
        ]
        self._estimating: list[
            tuple[slice, dict[OuterPoint, float], Callable[[OuterPoint], float]]
        ] = [(block, {}, part.estimate) for block, part in placed if isinstance(part, Estimating)]
        self._pricing = [(block, part.price) for block, part in placed if isinstance(part, Pricing)]

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.name}: {len(part.parameters)} decisions" for part in self.parts)
        return f"JointSpace({parts}; {self.product_size:.3g} points)"

    @cached_property
    def digest(self) -> str:
        """Key of the space: names and tables of its parameters."""
        rows = [(p.name, p.ordered, [str(to_plain(v)) for v in p.values]) for p in self.parameters]
        return digest(rows)

    @property
    def product_size(self) -> int:
        """Points of what is admitted, legal or not."""
        return prod(map(len, self.admitted))

    @cached_property
    def start(self) -> OuterPoint:
        """The admitted point that is closest to the default.

        Raises:
            InputError: None was found.
        """
        moved = self.moved_inside(self.default)
        if self.is_legal(moved):
            return moved
        generator = np.random.default_rng(0)
        drawn = [self.sample(generator) for _ in range(_DRAWN)]
        return min(drawn, key=lambda p: sum(a != b for a, b in zip(p, moved, strict=True)))

    def require_start(self) -> None:
        """Refuses a space of which nothing legal is admitted.

        Raises:
            InputError: As :attr:`start`.
        """
        _ = self.start

    def moved_inside(self, point: OuterPoint) -> OuterPoint:
        """A point with every decision that is not admitted replaced by the nearest one that is."""
        if not self._narrowed:
            return point
        found = list(point)
        for axis, indices in self._narrowed:
            if point[axis] not in indices:
                here = point[axis]
                found[axis] = min(self.admitted[axis], key=lambda index: abs(index - here))
        return tuple(found)

    def decode(self, point: OuterPoint) -> dict[str, Any]:
        """What a point means, by part.

        Raises:
            InputError: The point is not one of this space.
        """
        self._require(point)
        return {
            part.name: part.decode(point[block])
            for block, part in zip(self.blocks, self.parts, strict=True)
        }

    def is_legal(self, point: OuterPoint) -> bool:
        """Whether a point exists and is admitted."""
        return all(point[axis] in indices for axis, indices in self._narrowed) and all(
            _remembered(known, point[block], is_legal) for block, known, is_legal in self._judging
        )

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Where the parameters of each part stand in a point."""
        ends = list(accumulate(len(part.parameters) for part in self.parts))
        return tuple(slice(a, b) for a, b in pairwise([0, *ends]))

    @cached_property
    def known_guesses(self) -> tuple[OuterPoint, ...]:
        """See :meth:`guesses`, made once."""
        return self.guesses()

    def guesses(self) -> tuple[OuterPoint, ...]:
        """Static guesses: those of each part, the others at their default, or at their own first
        guess where they can tell what it costs; then the best of all together. The default itself
        is not among them."""
        found: dict[OuterPoint, None] = {}
        choices = [list(part.guesses()) for part in self.parts]
        firsts = [
            options[0] if options else part.default
            for part, options in zip(self.parts, choices, strict=True)
        ]
        others = [
            first if isinstance(part, Estimating) else part.default
            for part, first in zip(self.parts, firsts, strict=True)
        ]
        for at, options in enumerate(choices):
            for option in options:
                whole = (*others[:at], option, *others[at + 1 :])
                found[self.moved_inside(tuple(i for own in whole for i in own))] = None
        found[self.moved_inside(tuple(i for own in firsts for i in own))] = None
        found.pop(self.start, None)
        return tuple(point for point in found if self.is_legal(point))

    def enumerate(self) -> Iterator[OuterPoint]:
        """All legal points, always in the same order."""
        for point in product(*self.admitted):
            if self.is_legal(point):
                yield point

    def sample(self, generator: np.random.Generator) -> OuterPoint:
        """One legal point.

        Raises:
            InputError: None was found.
        """
        lengths = [len(indices) for indices in self.admitted]
        for _ in range(1024):
            drawn = generator.integers(0, lengths).tolist() if lengths else []
            point = tuple(own[at] for own, at in zip(self.admitted, drawn, strict=True))
            if self.is_legal(point):
                return point
        raise InputError("the joint space: 1024 random points, none of them legal")

    def neighbours(self, point: OuterPoint) -> tuple[OuterPoint, ...]:
        """Legal points one decision away: a step where values are ordered, else any other value."""
        found = []
        for axis, parameter in enumerate(self.parameters):
            here, others = point[axis], self.admitted[axis]
            if parameter.ordered:
                below = [index for index in others if index < here]
                others = (*below[-1:], *[index for index in others if index > here][:1])
            for index in others:
                if index != here:
                    moved = (*point[:axis], index, *point[axis + 1 :])
                    if self.is_legal(moved):
                        found.append(moved)
        return tuple(found)

    def estimates(self, point: OuterPoint) -> tuple[float, ...]:
        """What parts can tell of a point without evaluating it, see :class:`Estimating`."""
        return tuple(
            _remembered(known, point[block], estimate)
            for block, known, estimate in self._estimating
        )

    def price(self, point: OuterPoint, metric: str) -> float | None:
        """What parts can tell of a metric of a point without evaluating it; ``None`` where none
        can, see :class:`Pricing`."""
        if metric == "latency_ms" and (estimates := self.estimates(point)):
            return float_sum(estimates)
        told = (price(point[block], metric) for block, price in self._pricing)
        known = [value for value in told if value is not None]
        return float_sum(known) if known else None

    def _require(self, point: OuterPoint) -> None:
        if len(point) != len(self.parameters):
            raise InputError(
                f"a point of {len(point)} indices; the space has {len(self.parameters)} parameters"
            )
        for index, parameter in zip(point, self.parameters, strict=True):
            if not 0 <= index < len(parameter):
                raise InputError(
                    f"{parameter.name}: index {index}; the table has {len(parameter)} values"
                )


def _remembered(known: dict[OuterPoint, T], own: OuterPoint, tell: Callable[[OuterPoint], T]) -> T:
    """Samplers ask again and again of few points of a part."""
    if own not in known:
        if len(known) >= _REMEMBERED:
            known.clear()
        known[own] = tell(own)
    return known[own]
