"""Operators of classical learners: scalers, normalizers, linear ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from compiler_core.graph.spelled.reductions import by_length
from compiler_core.graph.spelled.spelling import Spelling
from compiler_core.graph.spelled.trees import label_array


def scaler(s: Spelling) -> bool:
    """What ``StandardScaler`` and the like are exported as; of columns, or of all alike."""
    known = (s.node.attributes.get(name, ()) for name in ("offset", "scale"))
    offset, scale = (np.asarray(row, np.float32).ravel() for row in known)
    if not {offset.size, scale.size} <= {1, s.shape[-1]}:
        return False
    less = s.add("Sub", [s.node.inputs[0], s.constant("offset", offset)], s.shape)
    s.add("Mul", [less, s.constant("scale", scale)], s.shape)
    return s.end()


def normalizer(s: Spelling) -> bool:
    """Normalizer, by the sum of absolute values or the length."""
    power = {"L1": 1, "L2": 2}.get(s.text("norm", "MAX"))
    return power is not None and len(s.shape) == 2 and by_length(s, power, 1)


_AFTER = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}


def _linear_scores(s: Spelling, rows: int) -> str | None:
    """The scores of a linear learner of ``rows`` outputs, behind its last function."""
    columns, after = s.shape[-1], s.text("post_transform", "NONE")
    factors = np.asarray(s.node.attributes.get("coefficients", ()), np.float32)
    shift = np.asarray(s.node.attributes.get("intercepts", ()), np.float32)
    if len(s.shape) != 2 or factors.size != rows * columns or after not in _AFTER:
        return None
    if shift.size not in (0, rows):
        return None
    shift = shift if shift.size else np.zeros(rows, np.float32)
    weights = s.constant("coefficients", np.ascontiguousarray(factors.reshape(rows, columns).T))
    inputs = [s.node.inputs[0], weights, s.constant("intercepts", shift)]
    shape = (s.shape[0], rows)
    scores = s.add("Gemm", inputs, shape)
    function = _AFTER[after]
    more: dict[str, Any] = {"axis": -1} if function == "Softmax" else {}
    return scores if function is None else s.add(function, [scores], shape, **more)


def linear_regressor(s: Spelling) -> bool:
    """LinearRegressor: the scores."""
    found = _linear_scores(s, int(s.node.attributes.get("targets", 1)))
    return found is not None and s.end()


def linear_classifier(s: Spelling) -> bool:
    """Scores, and the label of the highest one."""
    numbers = s.node.attributes.get("classlabels_ints", ())
    texts = s.node.attributes.get("classlabels_strings", ())
    count = len(numbers) or len(texts)
    if count < 2 or len(s.node.outputs) != 2:
        return False
    found = _linear_scores(s, count)
    if found is None:
        return False
    label, scores = s.node.outputs
    names = {found: scores}
    if s.work.readers(label) or s.work.pinned(label):
        place = s.add("ArgMax", [found], s.shape[:1], axis=1, keepdims=0)
        labels = s.constant("labels", label_array(numbers, texts))
        names[s.add("Gather", [labels, place], s.shape[:1], axis=0)] = label
        s.work.types[place] = replace(s.work.types[label], dtype="int64")
    return s.end_as(names)


def imputer(s: Spelling) -> bool:
    """Imputer of columns, or of all alike: Where a number is missing, another one."""
    known, x = s.node.attributes, s.node.inputs[0]
    filled = np.asarray(known.get("imputed_value_floats", ()), np.float32)
    if filled.size not in (1, s.shape[-1]):
        return False
    missing = np.float32(known.get("replaced_value_float", 0.0))
    if np.isnan(missing):
        gone = s.add("IsNaN", [x], s.shape, dtype="bool")
    else:
        gone = s.add("Equal", [x, s.constant("missing", missing)], s.shape, dtype="bool")
    s.add("Where", [gone, s.constant("filled", filled), x], s.shape)
    return s.end()


_MOST_KEYS = 1 << 16


def encoder(s: Spelling) -> bool:
    """LabelEncoder of whole numbers that lie near one another: a table of them."""
    known = s.node.attributes
    keys = np.asarray(known.get("keys_int64s", ()), np.int64)
    if not keys.size or s.work.dtype(s.node.inputs[0]) != "int64":
        return False
    values, other = known.get("values_int64s"), known.get("default_int64", -1)
    if not values:
        values, other = known.get("values_floats"), float(known.get("default_float", 0.0))
    if not values:
        return False
    first, last = int(keys.min()), int(keys.max())
    if last - first >= _MOST_KEYS or len(values) != keys.size:
        return False
    kind = np.int64 if isinstance(other, int) else np.float32
    table = np.full(last - first + 3, other, kind)  # with one place before and one behind
    for key, value in zip(keys[::-1].tolist(), values[::-1], strict=True):
        table[key - first + 1] = value
    dtype = str(table.dtype)
    ends = [
        s.constant(what, np.array(end)) for what, end in (("low", first - 1), ("high", last + 1))
    ]
    near = s.add("Clip", [s.node.inputs[0], *ends], s.shape)
    place = s.add("Sub", [near, ends[0]], s.shape)
    s.add("Gather", [s.constant("table", table), place], s.shape, dtype=dtype, axis=0)
    return s.end()


def categories(s: Spelling) -> bool:
    """OneHotEncoder of numbers: 1 where a number is that of a category."""
    numbers = np.asarray(s.node.attributes.get("cats_int64s", ()), np.int64)
    dtype = s.work.dtype(s.node.inputs[0])
    if not numbers.size or dtype not in ("float32", "int64"):
        return False
    if not s.node.attributes.get("zeros", 1):
        return False  # what is no category is an error
    shape = (*s.shape, numbers.size)
    each = s.shaped(s.node.inputs[0], (*s.shape, 1))
    same = s.add("Equal", [each, s.constant("numbers", numbers.astype(dtype))], shape, dtype="bool")
    s.add("Cast", [same], shape, dtype="float32", to=1)
    return s.end()
