"""What cost models and searches ask of a kind of unit about many schedules at once: the facet
``features``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.tensor.digest import digest
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine

Rows = npt.NDArray[np.int64]
"""``int64[n, parameters]``: schedules as :mod:`search_spaces.task_space` writes them."""

Columns = tuple[tuple[str, str, str], ...]
"""Name, unit and meaning of each feature."""


@dataclass(frozen=True)
class FeatureBatch:
    """Features of n schedules of one workload.

    Attributes:
        values: ``float32[n, features]``.
        bound_cycles: Lower bound of the workload.
        walk_cycles: ``float64[n]``, cycles that a coarse model without learning predicts.
    """

    values: npt.NDArray[np.float32]
    bound_cycles: int
    walk_cycles: npt.NDArray[np.float64]


class BoundDepth(Enum):
    """How much work a lower bound of a schedule takes; deeper ones are never lower."""

    CLOSED = "closed"
    """A closed form of few parameters."""
    ANY = "any"
    """A finer one that holds whatever some parameters are."""
    POINT = "point"
    """Of exactly that schedule."""


@runtime_checkable
class TaskFeatures(Protocol):
    """What is known of schedules before they are measured.

    Attributes:
        columns: Name, unit and meaning of each feature; saved models know the names.
    """

    @property
    def columns(self) -> Columns: ...

    def features(self, workload: Any, rows: Rows, machine: Any) -> FeatureBatch:
        """Features of legal schedules."""
        ...

    def estimate(self, workload: Any, rows: Rows, machine: Any) -> npt.NDArray[np.float64]:
        """Cycles of legal schedules by the cheapest formula there is, ``float64[n]``."""
        ...

    def bounds(
        self, workload: Any, rows: Rows, machine: Any, depth: BoundDepth, limit: int | None = None
    ) -> npt.NDArray[np.int64]:
        """Least cycles of legal schedules, ``int64[n]``.

        Args:
            workload: What they schedule.
            rows: The schedules.
            machine: Where they run.
            depth: How much work to spend.
            limit: Bounds need not be higher than that.
        """
        ...

    def unread(self, depth: BoundDepth) -> Collection[str]:
        """Names of the parameters that a bound of that depth does not depend on."""
        ...


def task_features(machine: Machine) -> TaskFeatures:
    """The features of a machine's kind.

    Raises:
        InputError: It has none.
    """
    kind = kind_of_machine(machine)
    if not kind.has("features"):
        raise InputError(
            f"unit kind {kind.name!r} has no features of schedules, from which this sampler learns",
            hint="--sampler random, tpe and nsga2 need none",
        )
    found: TaskFeatures = kind.facet("features", TaskFeatures)
    return found


def feature_names(columns: Columns) -> tuple[str, ...]:
    """Names of the features in their order."""
    return tuple(name for name, _, _ in columns)


def feature_schema(columns: Columns) -> str:
    """Digest of the names in their order: models of another schema are refused."""
    return digest(feature_names(columns))
