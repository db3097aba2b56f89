"""Operators in float32: everything that has no integer kernel, in one order of operations.

Sums run over their elements from the first to the last, one addition after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic import real
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.network import Array, Type, as_image

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantize:
    """Integers of real numbers: ``clamp(round(x / scale) + zero point)``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    type: Type

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        with np.errstate(all="ignore"):
            found = real.whole(np.asarray(inputs[0] / np.float32(self.type.scale), np.float32))
        return np.clip(found + self.type.zero_point, *self.type.limits)


@dataclass(frozen=True, eq=False)
class Dequantize:
    """Real numbers of integers."""

    name: str
    inputs: tuple[str, ...]
    output: str
    type: Type

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return np.asarray(self.type.real(inputs[0]), np.float32)


@dataclass(frozen=True, eq=False)
class RealConvolution:
    """A convolution ``[N, H, W, C]`` with weights ``float32[O, kh, kw, C / groups]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: Reals
    bias: Reals
    sliding: Sliding
    groups: int
    low: float
    high: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x, known = as_image(inputs[0]), self.sliding
        outputs, _, _, own = self.weights.shape
        groups = np.repeat(np.arange(self.groups), outputs // self.groups) * own
        total: Array = np.broadcast_to(self.bias, (len(x), *known.output, outputs)).copy()
        with np.errstate(all="ignore"):
            for row in range(known.kernel[0]):
                y, y_in = _places(known, 0, row, x.shape[1])
                for column in range(known.kernel[1]):
                    c, c_in = _places(known, 1, column, x.shape[2])
                    exists = (y_in[:, None] & c_in)[None, :, :, None]
                    seen = x[:, y][:, :, c]
                    for channel in range(own):
                        part = self.weights[:, row, column, channel] * seen[..., groups + channel]
                        total = np.asarray(np.where(exists, total + part, total), np.float32)
        return real.clamped(total, self.low, self.high)


def _places(
    sliding: Sliding, axis: int, tap: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    places = np.arange(sliding.output[axis], dtype=np.int64) * sliding.stride[axis]
    places = places - sliding.pad[axis] + tap * sliding.dilation[axis]
    return np.clip(places, 0, size - 1), (places >= 0) & (places < size)


@dataclass(frozen=True, eq=False)
class RealProduct:
    """A product ``[B, M, K]`` by ``[B, K, N]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    low: float
    high: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        a, b = inputs
        total: Array = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        with np.errstate(all="ignore"):
            for k in range(a.shape[-1]):
                total = total + a[..., :, k, None] * b[..., k, None, :]
        return real.clamped(total, self.low, self.high)


@dataclass(frozen=True, eq=False)
class RealDense:
    """A dense layer over the last axis with weights ``float32[O, I]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: Reals
    bias: Reals
    low: float
    high: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0]
        total: Array = np.broadcast_to(self.bias, (*x.shape[:-1], len(self.weights))).copy()
        with np.errstate(all="ignore"):
            for k in range(x.shape[-1]):
                total = total + x[..., k, None] * self.weights[:, k]
        return real.clamped(total, self.low, self.high)


@dataclass(frozen=True, eq=False)
class RealMap:
    """A function of one element, by its name in :data:`~…arithmetic.real.MAPS`."""

    name: str
    inputs: tuple[str, ...]
    output: str
    function: str
    a: float = 0.0
    b: float = 0.0

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        with np.errstate(all="ignore"):
            found = real.MAPS[self.function](inputs[0].astype(np.float32), self.a, self.b)
        return np.asarray(found, np.float32)


@dataclass(frozen=True, eq=False)
class RealPair:
    """A function of two elements that broadcast, by its name in PAIRS, and a clamp."""

    name: str
    inputs: tuple[str, ...]
    output: str
    function: str
    low: float
    high: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        with np.errstate(all="ignore"):
            found = real.PAIRS[self.function](inputs[0], inputs[1])
        return real.clamped(np.asarray(found, np.float32), self.low, self.high)


@dataclass(frozen=True, eq=False)
class RealPool:
    """The largest or the mean of the positions of a window that exist."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sliding: Sliding
    mean: bool
    low: float
    high: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x, known = as_image(inputs[0]), self.sliding
        shape = (len(x), *known.output, x.shape[3])
        total: Array
        total = np.full(shape, 0 if self.mean else -np.inf, np.float32)
        count = np.zeros((1, *known.output, 1), np.float32)
        with np.errstate(all="ignore"):
            for row in range(known.kernel[0]):
                y, y_in = _places(known, 0, row, x.shape[1])
                for column in range(known.kernel[1]):
                    c, c_in = _places(known, 1, column, x.shape[2])
                    exists = (y_in[:, None] & c_in)[None, :, :, None]
                    seen = x[:, y][:, :, c]
                    found: Array = np.where(seen > total, seen, total)
                    found = total + seen if self.mean else found
                    total = np.where(exists, found, total)
                    count = count + exists
            total = total / count if self.mean else total
        return real.clamped(total.astype(np.float32), self.low, self.high)


@dataclass(frozen=True, eq=False)
class RealReduction:
    """Sum, mean, largest or least along the middle axis of ``[outer, count, inner]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    function: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        total = x[:, 0]
        with np.errstate(all="ignore"):
            for index in range(1, self.sizes[1]):
                seen = x[:, index]
                if self.function in ("sum", "mean"):
                    total = total + seen
                else:
                    total = real.PAIRS[self.function](seen, total)
            if self.function == "mean":
                total = total / np.float32(self.sizes[1])
        return np.asarray(total, np.float32)


@dataclass(frozen=True, eq=False)
class RealSoftmax:
    """Softmax along the middle axis of ``[outer, count, inner]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        top = x[:, 0]
        with np.errstate(all="ignore"):
            for index in range(1, self.sizes[1]):
                top = np.where(x[:, index] > top, x[:, index], top)
            powers = real.exp(x - top[:, None])
            total = np.zeros_like(top)
            for index in range(self.sizes[1]):
                total = total + powers[:, index]
            return np.asarray(powers / total[:, None], np.float32)


@dataclass(frozen=True, eq=False)
class RealNormalization:
    """Layer normalization over the last axis."""

    name: str
    inputs: tuple[str, ...]
    output: str
    scale: Reals
    bias: Reals
    epsilon: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(-1, len(self.scale))
        count = np.float32(len(self.scale))
        with np.errstate(all="ignore"):
            total = np.zeros(len(x), np.float32)
            for index in range(x.shape[1]):
                total = total + x[:, index]
            apart = x - (total / count)[:, None]
            squares = np.zeros(len(x), np.float32)
            for index in range(x.shape[1]):
                squares = squares + apart[:, index] * apart[:, index]
            factor = np.float32(1) / np.sqrt(squares / count + np.float32(self.epsilon))
            return np.asarray((apart * factor[:, None]) * self.scale + self.bias, np.float32)


@dataclass(frozen=True, eq=False)
class Normalization:
    """Layer normalization over the last axis in integers of 8 or 16 bits: exact sums, then float32.

    Attributes:
        spread: Of the variance: ``scale**2 / count**2``.
        step: Of a centred element: ``scale / count``.
        scale, bias: ``float32[count]``, in units of the output.
        offset, low, high: Zero point of the output and the clamp.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    spread: float
    step: float
    epsilon: float
    scale: Reals
    bias: Reals
    offset: int
    low: int
    high: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        count = len(self.scale)
        x = inputs[0].reshape(-1, count).astype(np.int64)
        total = x.sum(axis=1)
        variance = count * (x * x).sum(axis=1) - total * total
        with np.errstate(all="ignore"):
            spread = variance.astype(np.float32) * np.float32(self.spread)
            factor = np.float32(1) / np.sqrt(spread + np.float32(self.epsilon))
            factor = factor * np.float32(self.step)
            centred = (count * x - total[:, None]).astype(np.float32)
            found = (centred * factor[:, None]) * self.scale + self.bias
        return np.clip(real.whole(found) + self.offset, self.low, self.high)
