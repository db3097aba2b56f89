"""The boosted model: learns, is deterministic, survives a file and refuses a foreign one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from compiler_core.errors import InputError
from cost_models.boosted import BoostedModel
from cost_models.evaluation import cross_validate, kendall_tau, quality
from cost_models.training import TrainingSet
from cost_models.vta.tiling import FEATURES, NAMES


def synthetic(tasks: int = 6, rows: int = 60) -> TrainingSet:
    """Cycles that exceed the walk by what one feature says."""
    generator = np.random.default_rng(0)
    values = generator.random((tasks * rows, len(NAMES))).astype(np.float32)
    walk = 1e4 * np.exp(generator.random(tasks * rows) * 0.2)
    cycles = walk * np.exp(0.5 * values[:, 3])
    return TrainingSet(values, walk, cycles, np.repeat(np.arange(tasks), rows))


def test_untrained_model_says_what_the_walk_says() -> None:
    mean, spread = BoostedModel.train(TrainingSet.empty(), 0).correction(synthetic().values)
    assert not mean.any()
    assert not spread.any()


def test_what_is_learnt_on_tasks_holds_for_others() -> None:
    data = synthetic()
    predicted = cross_validate(data, lambda part: BoostedModel.train(part, 0))
    untrained, trained = quality(data.walk_cycles, data), quality(predicted, data)
    assert trained.tasks == 6
    assert untrained.kendall_tau < 0.6
    assert trained.kendall_tau > 0.85
    assert trained.error < 0.25 * untrained.error
    assert trained.top_recall > untrained.top_recall


def test_training_is_deterministic_and_saved_models_are_equal(tmp_path: Path) -> None:
    data = synthetic()
    first, second = BoostedModel.train(data, 7), BoostedModel.train(data, 7)
    assert np.array_equal(first.correction(data.values), second.correction(data.values))
    other = BoostedModel.train(data, 8)
    assert not np.array_equal(first.correction(data.values), other.correction(data.values))
    path = tmp_path / "model.json"
    first.save(path, FEATURES)
    loaded = BoostedModel.load(path, FEATURES)
    assert loaded.rows == first.rows == len(data)
    assert np.array_equal(loaded.correction(data.values), first.correction(data.values))
    assert next(iter(first.importance(FEATURES))) == NAMES[3]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    BoostedModel.train(synthetic(), 0).save(path, FEATURES)
    document = json.loads(path.read_text())
    for key, value, message in (
        ("feature_schema", "other", "features of schema 'other'"),
        ("boosters", ["AAAA"], "boosters cannot be read"),
        ("boosters", None, "boosters cannot be read"),
        ("schema", "x", "schema 'nest-tune/cost-model/1' is needed"),
    ):
        path.write_text(json.dumps({**document, key: value}))
        with pytest.raises(InputError, match=message):
            BoostedModel.load(path, FEATURES)
    path.write_text("no json")
    with pytest.raises(InputError, match="not a JSON document"):
        BoostedModel.load(path, FEATURES)
    with pytest.raises(InputError, match="cannot be read"):
        BoostedModel.load(tmp_path / "none.json", FEATURES)


def test_quality_of_perfect_and_reversed_predictions() -> None:
    data = synthetic(2, 40)
    assert quality(data.cycles, data).kendall_tau == pytest.approx(1.0)
    assert quality(data.cycles, data).top_recall == 1.0
    assert quality(1e9 / data.cycles, data).kendall_tau == pytest.approx(-1.0)
    assert quality(data.cycles * 1.1, data).error == pytest.approx(0.1)
    assert kendall_tau(np.ones(5), np.arange(5.0)) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_rank_correlation_is_tau_b(seed: int) -> None:
    left, right = np.random.default_rng(seed).integers(0, 6, (2, 40)).astype(float)
    assert kendall_tau(left, right) == pytest.approx(kendalltau(left, right).statistic)
