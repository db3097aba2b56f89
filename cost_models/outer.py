"""XGBoost regression of a trial's losses on the decisions of its scheme and plan.

Rows are numbers per trial: what the caller knows of its decisions. Each target has an ensemble of
its own; every member sees a bootstrap sample, and their spread is the uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cost_models.matrices import BINS, binned

if TYPE_CHECKING:
    import xgboost

Floats = npt.NDArray[np.float64]

MEMBERS = 4
TREES = 40
_FEWEST = 6


@dataclass(frozen=True, eq=False)
class Prediction:
    """Of n rows.

    Attributes:
        mean: ``float64[n, targets]``.
        spread: ``float64[n, targets]``, standard deviation over the members.
    """

    mean: Floats
    spread: Floats


class OuterModel:
    """An ensemble per target.

    Args:
        rows: ``float64[n, features]``.
        targets: ``float64[n, targets]``.
        seed: Of the bootstrap samples.
    """

    def __init__(self, rows: Floats, targets: Floats, seed: int) -> None:
        self._centre = targets.mean(axis=0)
        self._scale = targets.std(axis=0)
        self._scale[self._scale == 0] = 1.0
        self._members: list[list[xgboost.Booster]] = []
        if len(rows) < _FEWEST:
            return
        import xgboost

        generator = np.random.default_rng(seed)
        weights = [generator.poisson(1.0, len(rows)) + 1e-6 for _ in range(MEMBERS)]
        matrix = binned(rows)
        for column in ((targets - self._centre) / self._scale).T:
            matrix.set_label(column)
            boosters = []
            for member, weight in enumerate(weights):
                matrix.set_weight(weight)
                parameters = {
                    "max_depth": 4,
                    "eta": 0.2,
                    "min_child_weight": 1.0,
                    "base_score": 0.0,
                    "max_bin": BINS,
                    "nthread": 1,
                    "seed": (seed + member) & 0x7FFFFFFF,
                    "verbosity": 0,
                }
                boosters.append(xgboost.train(parameters, matrix, TREES))
            self._members.append(boosters)

    def predict(self, rows: Floats) -> Prediction:
        """Predicts rows; without training everything is the mean with the spread of the data."""
        shape = (len(rows), len(self._centre))
        if not self._members:
            whole = np.broadcast_to(self._centre, shape).copy()
            return Prediction(whole, np.broadcast_to(self._scale, shape).copy())
        votes = np.stack(
            [[b.inplace_predict(rows) for b in boosters] for boosters in self._members]
        ).astype(np.float64)
        mean = votes.mean(axis=1).T * self._scale + self._centre
        return Prediction(mean, votes.std(axis=1).T * self._scale)
