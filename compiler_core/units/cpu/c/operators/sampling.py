"""Samples of images and volumes at points that are computed, in float32.

Source: the definition of GridSample in ONNX, operator set 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic import real
from compiler_core.units.cpu.c.network import Array

Reals = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

PADDINGS = ("zeros", "border", "reflection")
"""What lies outside."""

_F = np.float32
_FAR = 65536
"""Points farther away, in elements, are there."""
_A = -0.75
"""Of cubic interpolation."""


@dataclass(frozen=True, eq=False)
class GridSample:
    """Elements ``[N, P, C]`` of volumes ``[N, D, H, W, C]`` at points ``[N, P, axes]``, the last
    axis first, in units of half the extent from the middle.

    Attributes:
        sizes: ``N, D, H, W, C``.
        points: How many each volume has.
        axes: 2 of images (whose ``D`` is 1) or 3.
        taps: Elements along an axis that a sample is made of: 1, 2 or 4.
        padding: Of :data:`PADDINGS`.
        align: Ends are the middles of the outermost elements.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int, int, int]
    points: int
    axes: int
    taps: int
    padding: str
    align: bool

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        batch, *extents, channels = self.sizes
        x = inputs[0].reshape(batch, -1, channels)
        grid = inputs[1].reshape(batch, self.points, self.axes)
        one = np.zeros((batch, self.points, 1), np.int64), np.ones((batch, self.points, 1), _F)
        found = [
            self._taps(grid[..., 2 - axis], extents[axis]) if axis >= 3 - self.axes else one
            for axis in range(3)
        ]
        (z, zs), (y, ys), (w, ws) = found
        total = np.zeros((batch, self.points, channels), np.float32)
        rows = np.arange(batch)[:, None]
        with np.errstate(all="ignore"):
            for i in range(z.shape[2]):
                for j in range(y.shape[2]):
                    for k in range(w.shape[2]):
                        at = z[..., i], y[..., j], w[..., k]
                        inside = (at[0] >= 0) & (at[1] >= 0) & (at[2] >= 0)
                        flat = (at[0] * extents[1] + at[1]) * extents[2] + at[2]
                        seen = x[rows, np.where(inside, flat, 0)]
                        share = (zs[..., i] * ys[..., j]) * ws[..., k]
                        part = total + share[..., None] * seen
                        total = np.where(inside[..., None], part, total)
        return np.asarray(total, np.float32)

    def _taps(self, points: Array, size: int) -> tuple[Places, Reals]:
        """Elements along an axis, -1 outside, and their shares: ``[N, P, taps]``."""
        with np.errstate(all="ignore"):
            if self.align:
                at = (points + _F(1)) * _F(0.5) * _F(size - 1)
            else:
                at = ((points + _F(1)) * _F(size) - _F(1)) * _F(0.5)
            at = np.where(at > -_FAR, at, _F(-_FAR))
            at = np.where(at < _FAR, at, _F(_FAR)).astype(np.float32)
        if self.taps == 1:
            first = real.whole(at).astype(np.int64)[..., None]
            return self._inside(first, size), np.ones(first.shape, np.float32)
        low = real.floor(at)
        shares = _shares(at - low, self.taps)
        first = low.astype(np.int64)[..., None] - (self.taps // 2 - 1)
        return self._inside(first + np.arange(self.taps), size), shares

    def _inside(self, places: Places, size: int) -> Places:
        if self.padding == "zeros":
            return np.where((places < 0) | (places >= size), -1, places)
        if self.padding == "border":
            return np.clip(places, 0, size - 1)
        last = size - 1 if self.align else size
        period = max(1, 2 * last)
        around = places % period
        mirrored = period - around - (0 if self.align else 1)
        return np.where(around > size - 1, mirrored, around)


def _shares(t: Reals, taps: int) -> Reals:
    """Of elements around a point that is ``t`` behind the nearest one before it."""
    if taps == 2:
        return np.stack([_F(1) - t, t], axis=-1)
    parts = [_far(t + _F(1)), _near(t), _near(_F(1) - t), _far(_F(2) - t)]
    return np.stack(parts, axis=-1)


def _near(t: Reals) -> Reals:
    return np.asarray((_F(_A + 2) * t - _F(_A + 3)) * t * t + _F(1))


def _far(t: Reals) -> Reals:
    return np.asarray(((_F(_A) * t - _F(5 * _A)) * t + _F(8 * _A)) * t - _F(4 * _A))
