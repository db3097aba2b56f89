"""The seam of schedule samplers: propose points, observe what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.units.unit import Machine
from search_spaces.task_space import TaskSpace

if TYPE_CHECKING:
    from cost_models.boosted import BoostedModel

Point = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """One task to be tuned.

    Attributes:
        space: Its schedules.
        machine: Where they run.
        default: Canonical point of the untuned schedule.
        seed: Of everything random.
        base: Cost model learnt from records of other tasks, ``None`` where there is none.
    """

    space: TaskSpace
    machine: Machine
    default: Point
    seed: int
    base: BoostedModel | None = field(default=None, compare=False)


class TilingSampler(Protocol):
    """Chooses what to measure; at most four methods.

    A proposal is legal, canonical and never one that was proposed or observed before.
    """

    def propose(self, count: int) -> list[Point]:
        """At most ``count`` points; fewer, or none, where the space has no more."""
        ...

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        """Takes in measured cycles, ``None`` where a measurement failed, in proposal order."""
        ...

    def expected_gain(self) -> float:
        """Cycles that further measurements are expected to save; infinite where unknown."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """A sampler with a model of its own."""

    def expected_cycles(self, points: list[Point]) -> npt.NDArray[np.float64]:
        """What it expects of points that were proposed, ``float64[n]``."""
        ...


@runtime_checkable
class Proving(Protocol):
    """A sampler that knows what it need not measure."""

    @property
    def least_cycles(self) -> float:
        """What no schedule of the space can beat, as far as it is known; 0 at the start."""
        ...
