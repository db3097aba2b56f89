"""What a cost model learns from: features with measured cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cost_models.task_features import FeatureBatch


@dataclass(frozen=True)
class TrainingSet:
    """Measured schedules of any number of tasks.

    Attributes:
        values: ``float32[n, features]``.
        walk_cycles: ``float64[n]`` of the coarse walk.
        cycles: ``float64[n]`` measured.
        task: ``int64[n]``, which rows belong to one task.
    """

    values: npt.NDArray[np.float32]
    walk_cycles: npt.NDArray[np.float64]
    cycles: npt.NDArray[np.float64]
    task: npt.NDArray[np.int64]

    @staticmethod
    def empty(features: int = 0) -> TrainingSet:
        """A set without rows, to be joined with others of so many features."""
        none = np.zeros(0)
        return TrainingSet(np.zeros((0, features), np.float32), none, none, np.zeros(0, np.int64))

    @staticmethod
    def of(features: FeatureBatch, cycles: npt.ArrayLike, task: int = 0) -> TrainingSet:
        """The measurements of one task."""
        measured = np.asarray(cycles, np.float64)
        number = np.full(len(measured), task, np.int64)
        return TrainingSet(features.values, features.walk_cycles, measured, number)

    @staticmethod
    def join(parts: list[TrainingSet]) -> TrainingSet:
        """All rows of several sets in order."""
        if not parts:
            return TrainingSet.empty()
        return TrainingSet(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.walk_cycles for part in parts]),
            np.concatenate([part.cycles for part in parts]),
            np.concatenate([part.task for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def residual(self) -> npt.NDArray[np.float64]:
        """ln(measured / walk): what is left to learn."""
        return np.asarray(np.log(self.cycles / self.walk_cycles), np.float64)

    def only(self, chosen: npt.NDArray[np.bool_]) -> TrainingSet:
        """The rows of a mask."""
        return TrainingSet(
            self.values[chosen], self.walk_cycles[chosen], self.cycles[chosen], self.task[chosen]
        )
