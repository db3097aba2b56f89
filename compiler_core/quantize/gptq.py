"""Rounding weights so that the sums they make change least, not the weights themselves.

For one convolution, over the windows that its kernel sees (all centred, for the bias takes up any
mean):

| symbol | meaning |
|---|---|
| ``x``, ``q`` | a window of the float network, and of the quantized one up to this layer: ``[K]`` |
| ``H = E[q q']`` | ``float64[groups, K, K]``: what errors of weights cost |
| ``C = E[x q']`` | ``float64[groups, K, K]`` |
| ``W`` | float weights, ``float64[groups, outputs, K]`` |

The quantized layer should write ``W x`` but reads ``q``, so the weights to round are those with the
least ``E|W x - V q|^2``, held near ``W`` by a ridge: ``V = W + W (C - H) (H + ridge)^-1``. They are
then rounded column by column, and what a column lost is taken back by those that follow.

Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022; Li et al., GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric
Calibration, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.skeleton import INT8_LEVELS

_DAMPING = 0.01
"""Part of the mean of ``H``'s diagonal that is added to it, as in the paper."""
_RIDGES = (3.0, 10.0, 30.0)
"""Candidates, as parts of the same mean; beside them, leaving the weights as they are. Smaller ones
fit the noise that the layers before leave on these very samples, which no halves can tell."""
_SMALLEST = 1e-30
_NOISE = 1e-9
"""Part of a value's power below which its variance counts as none."""
_TIE = 2.0**20
"""Parts of a step in which ties are seen: libraries for matrices differ from machine to machine in
the last bits of what they solve, and files of few bits have weights in the middle of two
integers."""
_BLOCK = 64
"""Columns that are rounded before what they lost reaches the columns behind them at once."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WindowMoments:
    """Sums over windows of a layer.

    Attributes:
        count: Windows.
        quantized, real: Sums of ``q`` and ``x``, ``float64[groups, K]``.
        squares: Sum of ``q q'``, ``float64[groups, K, K]``.
        products: Sum of ``x q'``, ``float64[groups, K, K]``.
    """

    count: int
    quantized: _Floats
    real: _Floats
    squares: _Floats
    products: _Floats

    def plus(self, other: WindowMoments) -> WindowMoments:
        """Over the windows of both."""
        return WindowMoments(
            self.count + other.count,
            self.quantized + other.quantized,
            self.real + other.real,
            self.squares + other.squares,
            self.products + other.products,
        )

    def covariances(self) -> tuple[_Floats, _Floats]:
        """``H`` and ``C``, centred; 0 for what never changes in ``q``, where all that is left of
        large sums is rounding, which no matrix of moments would hold."""
        q, x = self.quantized / self.count, self.real / self.count
        h = self.squares / self.count - q[:, :, None] * q[:, None, :]
        c = self.products / self.count - x[:, :, None] * q[:, None, :]
        seen = np.diagonal(self.squares, axis1=1, axis2=2) / self.count
        changes = np.diagonal(h, axis1=1, axis2=2) > _NOISE * seen
        return h * (changes[:, :, None] & changes[:, None, :]), c * changes[:, None, :]


def moments_of(
    real: npt.NDArray[np.floating], quantized: npt.NDArray[np.floating], *, squared: bool = True
) -> WindowMoments:
    """Sums over windows ``float[groups, K, count]`` of both networks.

    Args:
        real: Of the float network.
        quantized: Of the other.
        squared: Whether the sums of products are wanted: a dense layer of 25,088 inputs has 5 GB of
            each. Without they are empty.
    """
    x, q = real.astype(np.float64), quantized.astype(np.float64)
    sums = q.shape[2], q.sum(axis=2), x.sum(axis=2)
    if not squared:
        return WindowMoments(*sums, *(np.zeros((len(q), 0, 0)) for _ in range(2)))
    turned = q.transpose(0, 2, 1)
    return WindowMoments(*sums, q @ turned, x @ turned)


def fitted_weights(weight: _Floats, folds: Sequence[WindowMoments]) -> _Floats:
    """``V``: the real weights that lead from ``q`` to what ``weight`` makes of ``x``.

    The ridge is the one whose weights, found on each fold, err least on the other.

    Args:
        weight: ``float64[groups, outputs, K]``.
        folds: Moments of two halves of the samples.
    """
    first, second = folds
    if min(first.count, second.count) < 2:
        return weight
    errors = np.zeros(len(_RIDGES) + 1)
    for found, judge in ((first, second), (second, first)):
        candidates = [weight, *_ridged(weight, found)]
        h, c = judge.covariances()
        aim = weight @ c
        errors += [float(((v @ h) * v - 2 * v * aim).sum()) for v in candidates]
    best = int(np.argmin(errors))
    if best == 0:
        return weight
    (fitted,) = _ridged(weight, first.plus(second), _RIDGES[best - 1 : best])
    return fitted


def _ridged(
    weight: _Floats, moments: WindowMoments, ridges: Sequence[float] = _RIDGES
) -> list[_Floats]:
    """``V`` for every candidate of the ridge."""
    h, c = moments.covariances()
    mean = np.maximum(np.diagonal(h, axis1=1, axis2=2).mean(axis=1), _SMALLEST)
    unit = np.eye(h.shape[-1]) * mean[:, None, None]
    aim = (weight @ (c - h)).transpose(0, 2, 1)
    # One elimination a ridge is far quicker than the eigenvalues that all of them share.
    return [weight + np.linalg.solve(h + r * unit, aim).transpose(0, 2, 1) for r in ridges]


def compensated_levels(scaled: _Floats, hessian: _Floats, largest: int = INT8_LEVELS) -> _Floats:
    """Integers for ``scaled`` weights: each takes back the rounding errors of those before it.

    Columns follow in the order of their diagonal in ``hessian``, the largest first.

    Args:
        scaled: ``float64[groups, outputs, K]``, in units of the integers.
        hessian: ``H``, ``float64[groups, K, K]``.
        largest: The largest integer.

    Returns:
        ``float64[groups, outputs, K]`` of integers within ± that.
    """
    size = hessian.shape[-1]
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    mean = np.maximum(diagonal.mean(axis=1, keepdims=True), _SMALLEST)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    damped = hessian + np.eye(size) * (_DAMPING * mean)[:, :, None]
    ordered = np.take_along_axis(damped, order[:, :, None], axis=1)
    ordered = np.take_along_axis(ordered, order[:, None, :], axis=2)
    factor = np.linalg.cholesky(np.linalg.inv(ordered)).transpose(0, 2, 1)
    rest = np.take_along_axis(scaled, order[:, None, :], axis=2)
    levels, lost = np.empty_like(rest), np.empty_like(rest)
    for start in range(0, size, _BLOCK):
        stop = min(size, start + _BLOCK)
        for column in range(start, stop):
            levels[:, :, column] = np.clip(_nearest(rest[:, :, column]), -largest, largest)
            error = (rest[:, :, column] - levels[:, :, column]) / factor[:, None, column, column]
            lost[:, :, column] = error
            near = slice(column + 1, stop)
            rest[:, :, near] -= error[:, :, None] * factor[:, None, column, near]
        rest[:, :, stop:] -= lost[:, :, start:stop] @ factor[:, start:stop, stop:]
    found = np.empty_like(levels)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], levels.shape), levels, axis=2)
    return found


def _nearest(values: _Floats) -> _Floats:
    """The nearest integers; of what lies in the middle, but for the noise of sums, the even one."""
    nearest: _Floats = np.rint(np.rint(values * _TIE) / _TIE)
    return nearest
