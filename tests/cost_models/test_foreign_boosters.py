"""Trees from elsewhere are read where they hold together, and refused elsewhere."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
import xgboost

from cost_models.foreign_boosters import _require_sound, read_boosters

FEATURES = 4


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    rows = np.random.default_rng(0).normal(size=(200, FEATURES)).astype(np.float32)
    parameters = {"objective": "reg:squarederror", "max_depth": 4, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(rows, rows[:, 0] * rows[:, 1]), 6)


def test_what_was_saved_answers_alike(booster: xgboost.Booster) -> None:
    text = b64encode(booster.save_raw("ubj")).decode()
    (found,) = read_boosters([text], FEATURES)
    rows = np.random.default_rng(1).normal(size=(50, FEATURES)).astype(np.float32)
    assert np.array_equal(found.inplace_predict(rows), booster.inplace_predict(rows))
    with pytest.raises(ValueError, match="other features"):
        read_boosters([text], FEATURES + 1)
    assert read_boosters([], FEATURES) == []
    with pytest.raises(TypeError):
        read_boosters("abc", FEATURES)


@pytest.mark.parametrize(
    ("key", "node", "value"),
    [
        ("left_children", 0, 10**6),
        ("left_children", 0, -7),
        ("right_children", 0, -1),
        ("left_children", 1, 0),
        ("right_children", 0, 1),
        ("split_indices", 0, FEATURES),
        ("split_indices", 0, -1),
        ("split_type", 0, 1),
    ],
)
def test_trees_that_point_elsewhere_are_refused(
    booster: xgboost.Booster, key: str, node: int, value: int
) -> None:
    document: dict[str, Any] = json.loads(booster.save_raw("json"))
    _require_sound(document, FEATURES)
    changed = copy.deepcopy(document)
    tree = changed["learner"]["gradient_booster"]["model"]["trees"][2]
    assert tree[key][node] != value
    tree[key][node] = value
    with pytest.raises(ValueError, match=r"child|feature"):
        _require_sound(changed, FEATURES)
    short = copy.deepcopy(document)
    short["learner"]["gradient_booster"]["model"]["trees"][0][key].pop()
    with pytest.raises(ValueError, match="other nodes"):
        _require_sound(short, FEATURES)


def test_bytes_that_are_no_model_end_nothing() -> None:
    random = np.random.default_rng(3)
    for _ in range(3):
        text = b64encode(b"{L" + random.bytes(200)).decode()
        with pytest.raises(ValueError, match="not readable"):
            read_boosters([text], FEATURES)
