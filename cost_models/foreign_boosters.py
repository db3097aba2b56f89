"""Boosters from a file whose author is not trusted.

XGBoost's reader of its own bytes ends the process on some, or leaves trees that point outside of
themselves. So another process writes them out as JSON, and only trees that hold together are read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xgboost

_LONGEST_S = 120
_WRITES = """
import base64, json, sys
import xgboost
found = []
for text in json.load(sys.stdin):
    booster = xgboost.Booster()
    booster.load_model(bytearray(base64.b64decode(text, validate=True)))
    found.append(booster.save_raw("json").decode())
json.dump(found, sys.stdout)
"""
_PER_NODE = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "split_type",
    "default_left",
    "base_weights",
    "loss_changes",
    "sum_hessian",
)


def read_boosters(texts: Sequence[str], features: int) -> list[xgboost.Booster]:
    """Boosters as XGBoost's own bytes.

    Args:
        texts: Each in base64.
        features: That they are asked about.

    Raises:
        ValueError: One of them cannot be read, is of other features, or its trees do not hold
            together.
        TypeError, KeyError: Likewise.
    """
    if not isinstance(texts, list):
        raise TypeError("a list of texts is needed")
    if not texts:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WRITES],
            input=json.dumps(list(texts)).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("no end") from error
    if done.returncode:
        raise ValueError("not readable")
    import xgboost

    found = []
    for text in json.loads(done.stdout):
        _require_sound(json.loads(text), features)
        booster = xgboost.Booster()
        booster.load_model(bytearray(text.encode()))
        found.append(booster)
    return found


def _require_sound(document: Mapping[str, Any], features: int) -> None:
    learner = document["learner"]
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    if int(parameters["num_feature"]) != features or int(parameters["num_class"]) != 0:
        raise ValueError("other features or classes")
    if booster["name"] != "gbtree" or learner["objective"]["name"] != "reg:squarederror":
        raise ValueError("another kind of model")
    model = booster["model"]
    trees, groups = model["trees"], model["tree_info"]
    if len(trees) != len(groups) or any(group != 0 for group in groups):
        raise ValueError("trees of several groups")
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees):
        raise ValueError("other trees than it says")
    for tree in trees:
        _require_tree(tree, features)


def _require_tree(tree: Mapping[str, Any], features: int) -> None:
    """Every node but the root has one parent before it, and reads a feature that there is."""
    count = int(tree["tree_param"]["num_nodes"])
    if count < 1 or any(len(tree[name]) != count for name in _PER_NODE):
        raise ValueError("a tree of other nodes than it says")
    if int(tree["tree_param"]["num_feature"]) not in (0, features) or any(tree["categories"]):
        raise ValueError("a tree of other features")
    seen = {0}
    for node in range(count):
        left, right = tree["left_children"][node], tree["right_children"][node]
        if (left == -1) != (right == -1):
            raise ValueError("a node with one child")
        if left != -1:
            if not (node < left < count and node < right < count) or left == right:
                raise ValueError("a child outside of the tree")
            if {left, right} & seen:
                raise ValueError("a child outside of the tree")
            seen |= {left, right}
        if not 0 <= tree["split_indices"][node] < features or tree["split_type"][node] != 0:
            raise ValueError("a feature that there is not")
