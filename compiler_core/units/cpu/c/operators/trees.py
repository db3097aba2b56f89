"""Ensembles of decision trees in float32.

A tree lies in the order of a walk that goes to the child of a true test first, so that this child
follows its node; ``jump`` leads to the other one. A leaf is one node per number that it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Array

TESTS: dict[str, Callable[[Array, Array], Array]] = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}
"""Tests of an element and a node's value, by their names in ONNX."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Sums over trees ``[rows, targets]`` of ``[rows, columns]``, from the first tree to the last.

    Attributes:
        test: Of all nodes, in :data:`TESTS`.
        roots: ``int32``, first node of every tree.
        columns: ``int16`` per node: twice the column, plus 1 where NaN is true; of leaves ``-1 -
            target``.
        values: ``float32`` per node: what is compared with; of leaves what is added.
        jumps: ``int16`` per node: from it to the child of a false test; of leaves 1 where the next
            node belongs to it, else 0.
        base: ``float32`` per target.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    test: str
    roots: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int16]
    values: npt.NDArray[np.float32]
    jumps: npt.NDArray[np.int16]
    base: npt.NDArray[np.float32]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        with np.errstate(all="ignore"):
            return np.stack([self._row(row) for row in inputs[0].reshape(len(inputs[0]), -1)])

    def _row(self, x: Array) -> Array:
        at = self.roots.astype(np.int64)
        inner = self.columns[at] >= 0
        while inner.any():
            code = self.columns[at[inner]]
            seen = x[code >> 1]
            true = TESTS[self.test](seen, self.values[at[inner]])
            true = true | (((code & 1) == 1) & np.isnan(seen))
            at[inner] += np.where(true, 1, self.jumps[at[inner]])
            inner = self.columns[at] >= 0
        total = self.base.copy()
        for node in at.tolist():
            while True:
                total[-1 - self.columns[node]] += self.values[node]
                if not self.jumps[node]:
                    break
                node += 1
        return total
