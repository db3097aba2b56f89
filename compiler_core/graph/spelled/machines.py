"""Support vector machines as products of matrices.

A kernel of the sample and every support vector is a product with the vectors, and a function of
one element; distances are those of numbers less the vectors' mean, which keeps them small. Each
pair of classes has one decision; where it is above zero it is a vote for the first of both:

| symbol | meaning |
|---|---|
| ``V`` | support vectors, class by class |
| ``P`` | pairs of classes, ``(0, 1), (0, 2), … (1, 2), …`` |
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.learner_types import DOMAIN
from compiler_core.graph.spelled.machine_pairs import (
    MOST_CLASSES,
    attributes_of_pairs,
    is_of_pairs,
)
from compiler_core.graph.spelled.spelling import Spelling
from compiler_core.graph.spelled.trees import label_array

Floats = npt.NDArray[np.float64]

_FLOAT = 1
_AFTER = {"NONE": None, "LOGISTIC": "Sigmoid"}


def vector_regressor(s: Spelling) -> bool:
    """SVMRegressor: the sum of all kernels, or of one class whether it is above zero."""
    known = s.node.attributes
    count = int(known.get("n_supports", 0))
    factors = np.asarray(known.get("coefficients", ()), np.float64)
    shift = np.asarray(known.get("rho", (0.0,)), np.float64)[:1]
    if s.text("post_transform", "NONE") != "NONE" or len(s.shape) != 2 or not factors.size:
        return False
    if count:
        if factors.size != count:
            return False
        total = _decisions(s, factors.reshape(-1, 1), shift)
        if total is None:
            return False
    elif s.text("kernel_type", "LINEAR") == "LINEAR" and factors.size == s.shape[1]:
        total = _decided(s, s.node.inputs[0], factors.reshape(-1, 1), shift)
    else:
        return False
    if known.get("one_class"):
        column = (s.shape[0], 1)
        above = s.add("Greater", [total, s.constant("zero", np.float32(0))], column, dtype="bool")
        ends = [s.constant(what, np.float32(end)) for what, end in (("in", 1), ("out", -1))]
        s.add("Where", [above, *ends], column)
    return s.end()


def vector_classifier(s: Spelling) -> bool:
    """SVMClassifier: decisions of pairs, and the class of most votes.

    Probabilities follow from the decisions, by :func:`~…machine_pairs.coupling`, which reads them
    as they are.
    """
    known, after = s.node.attributes, s.text("post_transform", "NONE")
    sizes = [int(size) for size in known.get("vectors_per_class", ())]
    texts = known.get("classlabels_strings", ())
    labels = label_array(known.get("classlabels_ints", ()), texts)
    classes, rows = len(labels), s.shape[0]
    if after not in _AFTER or len(s.shape) != 2 or len(sizes) != classes:
        return False
    likely = bool(known.get("prob_a"))
    if likely and (after != "NONE" or classes > MOST_CLASSES or is_of_pairs(s.node)):
        return False
    if classes < 2 or len(s.node.outputs) != 2:
        return False
    pairs = list(combinations(range(classes), 2))
    factors = np.asarray(known.get("coefficients", ()), np.float64)
    shift = np.asarray(known.get("rho", ()), np.float64)
    if factors.size != (classes - 1) * sum(sizes) or shift.size != len(pairs):
        return False
    matrix = _of_pairs(factors.reshape(classes - 1, -1), sizes, pairs)
    decisions = _decisions(s, matrix, shift)
    if decisions is None:
        return False
    shape = (rows, len(pairs))
    scores = decisions
    if likely:
        own = attributes_of_pairs(s.node, classes)
        inner = {"domain": DOMAIN, "op": "SVMClassifier", "attributes": own}
        scores = _coupled(s, decisions, classes, inner)
    elif classes == 2:
        other = s.add("Neg", [decisions], shape)
        scores = s.add("Concat", [other, decisions], (rows, 2), axis=1)
    if after == "LOGISTIC":
        scores = s.add("Sigmoid", [scores], (rows, max(2, len(pairs))))
    names = {scores: s.node.outputs[1]}
    label = s.node.outputs[0]
    if s.work.readers(label) or s.work.pinned(label):
        names[_voted(s, decisions, pairs, labels)] = label
    return s.end_as(names)


def _coupled(s: Spelling, decisions: str, classes: int, inner: dict[str, Any]) -> str:
    """The probabilities of all classes."""
    rows = s.shape[0]
    scores = s.add_of(inputs=[decisions], shape=(rows, classes), **inner)
    label = s.work.add_tensor(f"{s.node.name}/label", (rows,), s.node.inputs[0])
    s.work.types[label] = replace(s.work.types[s.node.outputs[0]], shape=(rows,))
    s.gives_first(label)
    return scores


def _decisions(s: Spelling, matrix: Floats, shift: Floats) -> str | None:
    """Kernels of each sample and support vector, ``[N, V]``, times ``matrix`` ``[V, P]``, and a
    shift; ``None`` where there is no such kernel.

    Of linear kernels the two products are one: their sums may be many times what is left of them.
    """
    vectors = np.asarray(s.node.attributes.get("support_vectors", ()), np.float64)
    count, rows = len(matrix), s.shape[0]
    if vectors.size != count * s.shape[1]:
        return None
    vectors = vectors.reshape(count, s.shape[1])
    known = [float(value) for value in s.node.attributes.get("kernel_params", (0.0, 0.0, 0.0))]
    gamma, offset, degree = (*known, 0.0, 0.0, 0.0)[:3]
    kind, x, shape = s.text("kernel_type", "LINEAR"), s.node.inputs[0], (rows, count)
    if kind == "LINEAR":
        return _decided(s, x, vectors.T @ matrix, shift)
    if kind == "RBF":
        return _decided(s, _radial(s, vectors, gamma), matrix, shift)
    if kind == "SIGMOID":
        function, more = "Tanh", []
    elif kind == "POLY" and degree == int(degree) and degree >= 1:
        function, more = "Pow", [s.constant("degree", np.float32(degree))]
    else:
        return None
    sums = _decided(s, x, gamma * vectors.T, np.full(count, offset))
    return _decided(s, s.add(function, [sums, *more], shape), matrix, shift)


def _radial(s: Spelling, vectors: Floats, gamma: float) -> str:
    """Exponentials of distances: what depends on the sample, on the vector, and on both."""
    middle = vectors.mean(axis=0)
    near = vectors - middle
    rows, columns = s.shape
    x = s.add("Sub", [s.node.inputs[0], s.constant("middle", middle.astype(np.float32))], s.shape)
    both = _decided(s, x, 2 * gamma * near.T, -gamma * (near * near).sum(axis=1))
    squares = s.add("Mul", [x, x], s.shape)
    own = _decided(s, squares, np.full((columns, 1), -gamma), np.zeros(1))
    power = s.add("Add", [both, own], (rows, len(vectors)))
    nothing = s.constant("nothing", np.float32(0))
    return s.add(
        "Exp", [s.add("Min", [power, nothing], (rows, len(vectors)))], (rows, len(vectors))
    )


def _decided(s: Spelling, x: str, matrix: Floats, shift: Floats) -> str:
    """A product with a matrix, and a shift."""
    weights = s.constant("weights", np.ascontiguousarray(matrix, np.float32))
    bias = s.constant("bias", shift.astype(np.float32))
    return s.add("Gemm", [x, weights, bias], (s.shape[0], matrix.shape[1]))


def _of_pairs(factors: Floats, sizes: list[int], pairs: list[tuple[int, int]]) -> Floats:
    """``[V, P]`` of the factors of vectors in the decision of a pair: those of both classes."""
    ends = np.cumsum([0, *sizes])
    found = np.zeros((ends[-1], len(pairs)))
    for column, (first, second) in enumerate(pairs):
        for own, other in ((first, second - 1), (second, first)):
            rows = slice(ends[own], ends[own + 1])
            found[rows, column] = factors[other, rows]
    return found


def _voted(
    s: Spelling, decisions: str, pairs: list[tuple[int, int]], labels: npt.NDArray[np.generic]
) -> str:
    """The label of the class with most votes, of equal ones the first."""
    rows, classes = s.shape[0], len(labels)
    shape = (rows, len(pairs))
    votes = np.zeros((len(pairs), classes))
    for row, (first, second) in enumerate(pairs):
        votes[row, first], votes[row, second] = 1, -1
    against = (votes < 0).sum(axis=0).astype(np.float64)
    zero = s.constant("zero", np.float32(0))
    above = s.add("Greater", [decisions, zero], shape, dtype="bool")
    chosen = s.add("Cast", [above], shape, to=_FLOAT)
    counts = _decided(s, chosen, votes, against)
    place = s.add("ArgMax", [counts], (rows,), dtype="int64", axis=1, keepdims=0)
    found = s.add("Gather", [s.constant("labels", labels), place], (rows,), axis=0)
    s.work.types[found] = replace(s.work.types[s.node.outputs[0]])
    return found
