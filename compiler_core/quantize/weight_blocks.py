"""Weights of a matrix product in blocks of few bits, as the operator MatMulNBits of onnxruntime
holds them.

| symbol | meaning |
|---|---|
| ``W`` | weights, ``float64[N, K]``: outputs first |
| ``s``, ``z`` | scale and zero point of a block of ``K`` |
| ``q`` | ``clip(round(W / s) + z, 0, 2**bits - 1)``, and ``W`` is near ``(q - z) s`` |

GPTQ rounds column by column and takes back on the columns that follow what a column lost, with
``H``, the second moments of the activations ``float64[K, K]``.

Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.precisions import Rounding, WeightOnly
from compiler_core.recent import Recent

_Floats = npt.NDArray[np.float64]

_SHRUNK = tuple(1.0 - 0.03 * step for step in range(12))
"""Scales that are tried for the least error, as parts of the largest."""
_DAMPING = 0.01
_SMALLEST = 2.0**-60


@dataclass(frozen=True, eq=False)
class WeightBlocks:
    """Integers of a weight.

    Attributes:
        levels: ``int64[N, B, block]``, padded behind with the zero point.
        scales: ``float32[N, B]``.
        zeros: ``int64[N, B]``.
        bits: 4 or 8.
        length: ``K``.
    """

    levels: npt.NDArray[np.int64]
    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int64]
    bits: int
    length: int

    def real(self) -> _Floats:
        """The weights that they stand for, ``float64[N, K]``."""
        steps = self.scales[:, :, None].astype(np.float64)
        real = (self.levels - self.zeros[:, :, None]).astype(np.float64) * steps
        flat: _Floats = real.reshape(len(real), -1)[:, : self.length]
        return flat

    def packed(self) -> npt.NDArray[np.uint8]:
        """``uint8[N, B, block * bits / 8]``: of two in a byte the first in the lower half."""
        return _packed(self.levels, self.bits)

    def packed_zeros(self) -> npt.NDArray[np.uint8]:
        """``uint8[N, ceil(B * bits / 8)]``."""
        zeros = self.zeros
        if self.bits == 4 and zeros.shape[1] % 2:
            zeros = np.pad(zeros, ((0, 0), (0, 1)))
        return _packed(zeros, self.bits)


def _packed(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.uint8]:
    bytes_ = values.astype(np.uint8)
    if bits == 8:
        return np.ascontiguousarray(bytes_)
    return np.ascontiguousarray(bytes_[..., 0::2] | bytes_[..., 1::2] << np.uint8(4))


_MOST_BYTES = 256 << 20
_KNOWN: Recent[WeightBlocks] = Recent(_MOST_BYTES)
"""Weights that were rounded before, one byte a level: plans differ in few operators, and GPTQ takes
long."""


def weight_blocks(
    weight: _Floats, precision: WeightOnly, moments: _Floats | None = None
) -> WeightBlocks:
    """Rounds a weight; what was rounded so before is known.

    Args:
        weight: ``W``.
        precision: Bits, blocks and how to round.
        moments: ``H``, for GPTQ.
    """
    used = moments if precision.rounding is Rounding.GPTQ else None
    key = replace(precision, level=0), weight.shape, _bytes_digest(weight), _bytes_digest(used)
    held = _KNOWN.get(key)
    if held is not None:
        return replace(held, levels=held.levels.astype(np.int64))
    found = _rounded(weight, precision, used)
    narrow = replace(found, levels=found.levels.astype(np.uint8))
    if narrow.levels.nbytes <= _MOST_BYTES:
        _KNOWN.keep(key, narrow, narrow.levels.nbytes)
    return found


def _bytes_digest(values: _Floats | None) -> bytes:
    return b"" if values is None else sha256(np.ascontiguousarray(values).data).digest()


def _rounded(weight: _Floats, precision: WeightOnly, moments: _Floats | None) -> WeightBlocks:
    outputs, length = weight.shape
    count = -(-length // precision.block)
    blocks = np.pad(weight, ((0, 0), (0, count * precision.block - length)))
    blocks = blocks.reshape(outputs, count, precision.block)
    scales, zeros = _scales(blocks, precision, 1.0)
    if precision.rounding is not Rounding.NEAREST:
        scales, zeros = _least_error(blocks, precision)
    levels = _levels(blocks, scales, zeros, precision.bits)
    if precision.rounding is Rounding.GPTQ and moments is not None:
        flat = levels.reshape(outputs, -1)
        flat[:, :length] = _compensated(weight, moments, scales, zeros, precision)
        levels = flat.reshape(levels.shape)
    return WeightBlocks(levels, scales, zeros, precision.bits, length)


def _scales(
    blocks: _Floats, precision: WeightOnly, part: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    top = 2**precision.bits - 1
    middle = 2 ** (precision.bits - 1)
    if precision.zero_points:
        low = np.minimum(blocks.min(axis=2), 0.0) * part
        high = np.maximum(blocks.max(axis=2), 0.0) * part
        scales = (high - low) / top
        safe = np.where(scales > _SMALLEST, scales, 1.0).astype(np.float32)
        return safe, np.clip(np.rint(-low / safe), 0, top).astype(np.int64)
    scales = np.abs(blocks).max(axis=2) * part / (middle - 1)
    safe = np.where(scales > _SMALLEST, scales, 1.0).astype(np.float32)
    return safe, np.full(safe.shape, middle, np.int64)


def _levels(
    blocks: _Floats,
    scales: npt.NDArray[np.float32],
    zeros: npt.NDArray[np.int64],
    bits: int,
) -> npt.NDArray[np.int64]:
    scaled = np.rint(blocks / scales[:, :, None].astype(np.float64)) + zeros[:, :, None]
    return np.clip(scaled, 0, 2**bits - 1).astype(np.int64)


def _least_error(
    blocks: _Floats, precision: WeightOnly
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    found: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None = None
    least = np.full(blocks.shape[:2], np.inf)
    for part in _SHRUNK:
        scales, zeros = _scales(blocks, precision, part)
        levels = _levels(blocks, scales, zeros, precision.bits)
        real = (levels - zeros[:, :, None]) * scales[:, :, None].astype(np.float64)
        error = ((real - blocks) ** 2).sum(axis=2)
        if found is not None:
            better = error < least
            scales, zeros = np.where(better, scales, found[0]), np.where(better, zeros, found[1])
        found, least = (scales, zeros), np.minimum(error, least)
    assert found is not None
    return found


def _compensated(
    weight: _Floats,
    moments: _Floats,
    scales: npt.NDArray[np.float32],
    zeros: npt.NDArray[np.int64],
    precision: WeightOnly,
) -> npt.NDArray[np.int64]:
    length = weight.shape[1]
    mean = max(float(np.diagonal(moments).mean()), 1e-30)
    damped = moments + np.eye(length) * (_DAMPING * mean)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    rest = weight.copy()
    levels = np.empty(weight.shape, np.int64)
    for column in range(length):
        block = column // precision.block
        scale, zero = scales[:, block].astype(np.float64), zeros[:, block]
        level = np.clip(np.rint(rest[:, column] / scale) + zero, 0, 2**precision.bits - 1)
        levels[:, column] = level
        lost = (rest[:, column] - (level - zero) * scale) / factor[column, column]
        rest[:, column + 1 :] -= lost[:, None] * factor[column, column + 1 :]
    return levels
