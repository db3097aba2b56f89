"""Ensembles of decision trees as sums over trees, and what follows from the sums.

What runtimes make of two classes depends on whether leaves vote for both:

| votes | scores |
|---|---|
| for the first class, none negative | ``1 - p, p``, whatever the function |
| for the first class | ``-s, s``, or the logistic function of these |
| for the second, or for both | the function of the sums |

The votes for the first class are what speaks for the second then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import as_text
from compiler_core.graph.learner_types import DOMAIN
from compiler_core.graph.spelled.spelling import Spelling

SUMS = "TreeEnsembleRegressor"
"""The operator that adds what the leaves of its trees say."""
_AFTER = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
_VOTES = ("treeids", "nodeids", "ids", "weights")


def tree_classifier(s: Spelling) -> bool:
    """TreeEnsembleClassifier: sums per class, their function, the label of the largest."""
    known = s.node.attributes
    labels, after = known.get("classlabels_int64s", ()), s.text("post_transform", "NONE")
    texts = known.get("classlabels_strings", ())
    count = len(labels) or len(texts)
    if count < 2 or after not in _AFTER or len(s.shape) != 2 or len(s.node.outputs) != 2:
        return False
    label, scores = s.node.outputs
    has_label = bool(s.work.readers(label) or s.work.pinned(label))
    votes = _Votes(*(tuple(known.get(f"class_{name}", ())) for name in _VOTES))
    rows = s.shape[0]
    base = tuple(known.get("base_values") or ())
    is_positive = min(votes.weights, default=0.0) >= 0
    if count == 2 and set(votes.ids) == {0}:
        if len(base) > 1:
            return False
        total, shape = _based(s, _sums(s, votes, 1), base), (rows, 1)
        if is_positive:
            other, after = s.add("Sub", [s.constant("one", np.float32(1)), total], shape), "NONE"
        else:
            other = s.add("Neg", [total], shape)
            after = "LOGISTIC" if after == "LOGISTIC" else "NONE"
        total = s.add("Concat", [other, total], (rows, 2), axis=1)
    elif len(base) not in (0, count) or (count == 2 and base):
        return False
    elif count == 2 and has_label and (len(set(votes.ids)) == 2 or is_positive):
        return False  # runtimes do not agree with the definition on the label
    else:
        total = _based(s, _sums(s, votes, count), base)
    function = _AFTER[after]
    more: dict[str, Any] = {"axis": -1} if function == "Softmax" else {}
    found = s.add(function, [total], (rows, count), **more) if function else total
    names = {found: scores}
    if has_label:
        place = s.add("ArgMax", [total], (rows,), axis=1, keepdims=0)
        named = s.constant("labels", label_array(labels, texts))
        names[s.add("Gather", [named, place], (rows,), axis=0)] = label
        s.work.types[place] = replace(s.work.types[label], dtype="int64")
    return s.end_as(names)


def tree_regressor(s: Spelling) -> bool:
    """TreeEnsembleRegressor of means, or with a function behind the sums."""
    known = s.node.attributes
    after = s.text("post_transform", "NONE")
    aggregate = s.text("aggregate_function", "SUM")
    if (after, aggregate) == ("NONE", "SUM") or len(s.shape) != 2:
        return False
    if after not in _AFTER or aggregate not in ("SUM", "AVERAGE"):
        return False
    targets = int(known.get("n_targets", 1))
    shape, base = (s.shape[0], targets), tuple(known.get("base_values") or ())
    votes = _Votes(*(tuple(known.get(f"target_{name}", ())) for name in _VOTES))
    total = _sums(s, votes, targets)
    if aggregate == "AVERAGE":
        share = np.float32(1 / len(set(known["nodes_treeids"])))
        total = s.add("Mul", [total, s.constant("share", share)], shape)
    total = _based(s, total, base)
    function = _AFTER[after]
    if function:
        more: dict[str, Any] = {"axis": -1} if function == "Softmax" else {}
        s.add(function, [total], shape, **more)
    return s.end()


def label_array(numbers: Sequence[int], texts: Sequence[str | bytes]) -> npt.NDArray[Any]:
    """Labels of classes as a constant: numbers where there are some, else texts."""
    if numbers:
        return np.asarray(numbers, np.int64)
    return np.array([*map(as_text, texts)], object)


@dataclass(frozen=True)
class _Votes:
    """What leaves add, in ONNX's columns."""

    treeids: tuple[int, ...]
    nodeids: tuple[int, ...]
    ids: tuple[int, ...]
    weights: tuple[float, ...]


def _based(s: Spelling, total: str, base: tuple[float, ...]) -> str:
    """Sums and what they begin with: apart, since runtimes leave it out where no tree votes."""
    if not base:
        return total
    shape = (s.shape[0], len(base))
    return s.add("Add", [total, s.constant("base", np.array(base, np.float32))], shape)


def _sums(s: Spelling, votes: _Votes, targets: int) -> str:
    known = s.node.attributes
    attributes: dict[str, Any] = {k: v for k, v in known.items() if k.startswith("nodes_")}
    attributes |= {f"target_{name}": getattr(votes, name) for name in _VOTES}
    attributes["n_targets"] = targets
    shape = (s.shape[0], targets)
    return s.add_of(DOMAIN, SUMS, [s.node.inputs[0]], shape, attributes)
