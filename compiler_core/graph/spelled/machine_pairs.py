"""Support vector machines whose inputs are the decisions of pairs of classes themselves.

Each class has one vector per pair, which takes that pair's decision out of the input: what is left
to compute are probabilities. Runtimes know such a node as any other of its kind.

| symbol | meaning |
|---|---|
| ``P`` | pairs of classes, ``(0, 1), (0, 2), … (1, 2), …``: columns of the input |
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from compiler_core.graph.ir import Node

MOST_CLASSES = 32
"""Of such a node, whose vectors grow with the fifth power of their number."""


def attributes_of_pairs(node: Node, classes: int) -> dict[str, Any]:
    """Attributes of a node that makes probabilities of the decisions of another one."""
    pairs = list(combinations(range(classes), 2))
    count = len(pairs)
    factors = np.zeros((classes - 1, classes, count), np.float32)
    for place, (first, second) in enumerate(pairs):
        factors[second - 1, first, place] = 1
    kept = ("classlabels_ints", "classlabels_strings", "prob_a", "prob_b")
    known = {name: node.attributes[name] for name in kept if name in node.attributes}
    return {
        **known,
        "kernel_type": "LINEAR",
        "kernel_params": (0.0, 0.0, 0.0),
        "vectors_per_class": (count,) * classes,
        "support_vectors": tuple(np.tile(np.eye(count), (classes, 1)).ravel().tolist()),
        "coefficients": tuple(factors.ravel().tolist()),
        "rho": (0.0,) * count,
        "post_transform": "NONE",
    }


def is_of_pairs(node: Node) -> bool:
    """Whether a node reads decisions of pairs."""
    known = node.attributes
    classes = len(known.get("vectors_per_class", ()))
    if classes < 2 or not known.get("prob_a"):
        return False
    wanted = attributes_of_pairs(node, classes)
    names = ("vectors_per_class", "support_vectors", "coefficients", "rho")
    return all(
        len(known.get(name, ())) == len(wanted[name]) and np.array_equal(known[name], wanted[name])
        for name in names
    )
