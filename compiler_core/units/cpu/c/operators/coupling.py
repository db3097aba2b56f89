"""Probabilities of classes from those of pairs of them, in float32.

Source: Wu, Lin and Weng, Probability estimates for multi-class classification by pairwise coupling
(2004), algorithm 2, with the bounds of LIBSVM and onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Array

_TIMES = 100
_F = np.float32


@dataclass(frozen=True, eq=False)
class Coupling:
    """Probabilities ``[N, classes]`` of those, ``[N, pairs]``, that of two classes it is the
    first."""

    name: str
    inputs: tuple[str, ...]
    output: str
    classes: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        with np.errstate(all="ignore"):
            return np.stack([self._row(row) for row in inputs[0].reshape(len(inputs[0]), -1)])

    def _row(self, pairs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        count = self.classes
        r = np.zeros((count, count), np.float32)
        r[np.triu_indices(count, 1)] = pairs
        lower = np.tril_indices(count, -1)
        r[lower] = (_F(1) - r.T)[lower]
        q = -(r.T * r)
        for i in range(count):
            total = _F(0)
            for j in range(count):
                total = total + r[j, i] * r[j, i] if j != i else total
            q[i, i] = total
        p = np.full(count, _F(1) / _F(count), np.float32)
        for _ in range(_TIMES):
            product = np.zeros(count, np.float32)
            for j in range(count):
                product = product + q[:, j] * p[j]
            whole = _F(0)
            for i in range(count):
                whole = whole + p[i] * product[i]
            if not (np.abs(product - whole) >= _F(0.005) / _F(count)).any():
                break
            for i in range(count):
                step = (whole - product[i]) / q[i, i]
                p[i] = p[i] + step
                rest = _F(1) + step
                whole = (whole + step * (step * q[i, i] + _F(2) * product[i])) / rest / rest
                product = (product + step * q[i]) / rest
                p = p / rest
        return p
