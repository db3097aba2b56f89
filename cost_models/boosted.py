"""XGBoost regression on what the coarse walk gets wrong, with an ensemble as its uncertainty.

Target: ln(measured cycles / walked cycles). An untrained model therefore already ranks by the walk,
and errors learnt on one task carry over to others. Each member sees a bootstrap sample; the spread
of the members is the uncertainty.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from cost_models.foreign_boosters import read_boosters
from cost_models.matrices import BINS, binned
from cost_models.task_features import Columns, FeatureBatch, feature_names, feature_schema
from cost_models.training import TrainingSet

if TYPE_CHECKING:
    import xgboost

DOCUMENT = "nest-tune/cost-model/1"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Boosting:
    """Settings of the regression.

    Attributes:
        members: Boosters of the ensemble.
        trees: Of each booster.
        depth: Of each tree.
        learning_rate: Shrinkage per tree.
        minimum_weight: Rows per leaf, at least.
    """

    members: int = 3
    trees: int = 60
    depth: int = 5
    learning_rate: float = 0.12
    minimum_weight: float = 2.0


@dataclass(frozen=True)
class Scores:
    """Predictions for n schedules.

    Attributes:
        log_cycles: ``float64[n]``, ln of predicted cycles.
        spread: ``float64[n]``, standard deviation of the members' predictions.
    """

    log_cycles: Floats
    spread: Floats


class BoostedModel:
    """An ensemble of boosters.

    Args:
        boosters: Trained members; none predicts what the walk says.
        rows: Measurements that it was trained on.
    """

    def __init__(self, boosters: tuple[xgboost.Booster, ...] = (), rows: int = 0) -> None:
        self._boosters = boosters
        self.rows = rows

    @classmethod
    def train(
        cls,
        data: TrainingSet,
        seed: int,
        settings: Boosting | None = None,
        base: Floats | None = None,
    ) -> BoostedModel:
        """Fits an ensemble.

        Args:
            data: Measurements; fewer than 4 train nothing.
            seed: Of the bootstrap samples.
            settings: Size of the ensemble.
            base: ``float64[n]``, correction that another model makes already, which is not to be
                learnt again.
        """
        settings = settings or Boosting()
        if len(data) < 4:
            return cls()
        import xgboost

        target = data.residual if base is None else data.residual - base
        generator = np.random.default_rng(seed)
        # Good schedules are what is looked for: they weigh more than bad ones.
        best = np.full(int(data.task.max(initial=0)) + 1, np.inf)
        np.minimum.at(best, data.task, data.cycles)
        weight = np.clip(best[data.task] / data.cycles, 0.02, 1.0) ** 2
        parameters = {
            "max_depth": settings.depth,
            "eta": settings.learning_rate,
            "min_child_weight": settings.minimum_weight * 0.5,
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "tree_method": "hist",
            "max_bin": BINS,
            "colsample_bytree": 0.7,
            "lambda": 1.0,
            "nthread": 1,
            "seed": seed & 0x7FFFFFFF,
            "verbosity": 0,
        }
        matrix = binned(data.values, target)
        boosters = []
        for member in range(settings.members):
            counts = generator.poisson(1.0, len(data)) if settings.members > 1 else 1
            matrix.set_weight(np.asarray(weight * counts + 1e-6, np.float32))
            parameters["seed"] = (seed + 7919 * member) & 0x7FFFFFFF
            boosters.append(xgboost.train(parameters, matrix, settings.trees))
        return cls(tuple(boosters), len(data))

    def correction(self, values: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Mean and spread of ln(measured / walk) over the members, each ``float64[n]``."""
        if not self._boosters or len(values) == 0:
            return np.zeros(len(values)), np.zeros(len(values))
        members = np.stack([b.inplace_predict(values) for b in self._boosters]).astype(np.float64)
        return members.mean(axis=0), members.std(axis=0)

    def score(self, features: FeatureBatch) -> Scores:
        """Predicts schedules from their features."""
        mean, spread = self.correction(features.values)
        return Scores(np.log(features.walk_cycles) + mean, spread)

    def importance(self, columns: Columns) -> dict[str, float]:
        """Share of the total gain by feature, largest first.

        Args:
            columns: The features that it was trained on.
        """
        names = feature_names(columns)
        total: dict[str, float] = {}
        for booster in self._boosters:
            for name, gain in booster.get_score(importance_type="total_gain").items():
                key = names[int(name[1:])]
                total[key] = total.get(key, 0.0) + float(np.asarray(gain).sum())
        everything = sum(total.values()) or 1.0
        ordered = sorted(total.items(), key=lambda item: -item[1])
        return {name: gain / everything for name, gain in ordered}

    def save(self, path: Path, columns: Columns) -> None:
        """Writes the model with its feature schema.

        Args:
            path: Of the file.
            columns: The features that it was trained on.
        """
        document = {
            "schema": DOCUMENT,
            "features": list(feature_names(columns)),
            "feature_schema": feature_schema(columns),
            "rows": self.rows,
            "boosters": [b64encode(b.save_raw("ubj")).decode() for b in self._boosters],
        }
        path.write_text(json.dumps(document))

    @classmethod
    def load(cls, path: Path, columns: Columns) -> BoostedModel:
        """Reads a model.

        Args:
            path: Of the file.
            columns: The features that it will be asked about.

        Raises:
            InputError: It is no cost model, or one of other features.
        """
        document = _read(path)
        schema, seen = feature_schema(columns), document.get("feature_schema")
        if seen != schema:
            raise InputError(
                f"{path}: features of schema {seen!r}; this version computes {schema!r}",
                hint="nest-tune cost-model show --target T --save FILE trains one from records",
            )
        try:
            boosters = read_boosters(document["boosters"], len(feature_names(columns)))
            return cls(tuple(boosters), int(document["rows"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: the boosters cannot be read") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON document: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != DOCUMENT:
        raise InputError(f"{path}: schema {DOCUMENT!r} is needed")
    return document
