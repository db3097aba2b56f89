"""Memory layouts: activations ``[N][C/16][H][W][16]``, weight tiles, bias rows and tiles.

Other cores than the usual one: :mod:`compiler_core.units.vta.lower.pack_vectors`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import NestTuneError
from compiler_core.tensor.workload import ConvWorkload, Spread
from compiler_core.units.vta.structure.conv_structure import (
    BIAS_LANE_VALUE,
    BIAS_LANES,
    BLOCK,
    DIRECT_RESIDUAL_SHIFT,
    bias_tiles,
    conv_structure,
    weight_row_starts,
)


def pack_activation(image: npt.NDArray[np.int8], lanes: int = BLOCK) -> npt.NDArray[np.int8]:
    """``int8[N, C, H, W]`` to ``int8[N, ceil(C/lanes), H, W, lanes]``; missing channels are 0."""
    n, c, h, w = image.shape
    count = -(-c // lanes)
    padded = np.zeros((n, count * lanes, h, w), np.int8)
    padded[:, :c] = image
    return np.ascontiguousarray(padded.reshape(n, count, lanes, h, w).transpose(0, 1, 3, 4, 2))


def unpack_activation(packed: npt.NDArray[np.int8], channels: int) -> npt.NDArray[np.int8]:
    """The inverse of :func:`pack_activation`."""
    n, b, h, w, lanes = packed.shape
    image = packed.transpose(0, 1, 4, 2, 3).reshape(n, b * lanes, h, w)
    return np.ascontiguousarray(image[:, :channels])


def pack_weights(
    workload: ConvWorkload,
    weight: npt.NDArray[np.int8],
    constants: npt.NDArray[np.int64],
    residual_shift: int,
    *,
    gemm_bias: bool,
) -> npt.NDArray[np.int8]:
    """Weight tiles in the order in which the lowering expects them.

    Args:
        workload: The convolution.
        weight: ``int8[O, I / groups, kh, kw]``.
        constants: ``int64[O]``, what is added to each accumulator: bias and rounding.
        residual_shift: Left shift of the residual, if the workload has one.
        gemm_bias: Whether bias tiles precede each row.

    Returns:
        ``int8[tiles, 16, 16]`` (output lane, input lane): the tile of the residual where there
        is one; then per output block its bias tiles and its tiles ``[input block][kh][kw]``; one
        row alone if uniform.
    """
    structure = conv_structure(workload)
    extra = bias_tiles(workload.epilogue.bias_bits) if gemm_bias else 0
    parts = []
    if workload.epilogue.residual_bits is not None:
        scale = 1 << min(residual_shift, DIRECT_RESIDUAL_SHIFT)
        parts.append(_residual_tile(workload.spread)[None] * np.int8(scale))
    bias = _bias_tiles(constants, structure.out_blocks, extra)
    if workload.uniform:
        value = weight.reshape(-1)[0]
        parts += [bias[0], np.eye(BLOCK, dtype=np.int8)[None] * value]
        return np.concatenate(parts)
    starts = weight_row_starts(workload, extra)
    total = starts[-1] + structure.row_tiles(structure.out_blocks - 1) + extra
    tiles = np.zeros((total, BLOCK, BLOCK), np.int8)
    for block, (low, high) in enumerate(structure.ranges):
        begin = starts[block]
        tiles[begin : begin + extra] = bias[block]
        row = _row_tiles(workload, weight, block, low, high)
        tiles[begin + extra : begin + extra + len(row)] = row
    return np.concatenate([*parts, tiles])


def _residual_tile(spread: Spread | None) -> npt.NDArray[np.int8]:
    """The identity, or what adds the first lane to all lanes."""
    if spread is None or not spread.channels:
        return np.eye(BLOCK, dtype=np.int8)
    tile = np.zeros((BLOCK, BLOCK), np.int8)
    tile[:, 0] = 1
    return tile


def _row_tiles(
    workload: ConvWorkload, weight: npt.NDArray[np.int8], block: int, low: int, high: int
) -> npt.NDArray[np.int8]:
    kernel_h, kernel_w = workload.window.kernel
    group_out = workload.out_channels // workload.groups
    group_in = workload.in_channels // workload.groups
    dense = np.zeros((BLOCK, (high - low) * BLOCK, kernel_h, kernel_w), np.int8)
    first = block * BLOCK
    rows = np.arange(first, min(first + BLOCK, workload.out_channels))
    if workload.groups == 1:
        dense[: len(rows), : workload.in_channels] = weight[rows]
    else:
        columns = (rows // group_out * group_in - low * BLOCK)[:, None] + np.arange(group_in)
        dense[(rows - first)[:, None], columns] = weight[rows]
    tiles = dense.reshape(BLOCK, high - low, BLOCK, kernel_h, kernel_w).transpose(1, 3, 4, 0, 2)
    return tiles.reshape(-1, BLOCK, BLOCK)


def _bias_tiles(
    constants: npt.NDArray[np.int64], out_blocks: int, extra: int
) -> npt.NDArray[np.int8]:
    """``int8[out_blocks, extra, 16, 16]``; times :func:`bias_vector` they are the constants."""
    padded = np.zeros(out_blocks * BLOCK, np.int64)
    padded[: len(constants)] = constants
    tiles = np.zeros((out_blocks * BLOCK, extra, BLOCK), np.int64)
    if extra:
        quotient = (padded + BIAS_LANE_VALUE // 2) // BIAS_LANE_VALUE
        tiles[:, 0, 0] = padded - quotient * BIAS_LANE_VALUE
        for tile in range(extra):
            for lane in range(1, BIAS_LANES + 1):
                part = np.clip(quotient, -BIAS_LANE_VALUE, BIAS_LANE_VALUE)
                tiles[:, tile, lane] = part
                quotient = quotient - part
        if quotient.any():
            raise NestTuneError(
                f"bias {int(np.abs(padded).max())} exceeds what {extra} weight tiles can hold"
            )
    return tiles.reshape(out_blocks, BLOCK, extra, BLOCK).transpose(0, 2, 1, 3).astype(np.int8)


def bias_tile(workload: ConvWorkload, constants: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """``int8[extra, 16, 16]``: the tiles of the GEMM bias that all output blocks share, whose
    constants are one number, where the weights are an activation."""
    if (constants != constants[:1]).any():
        raise NestTuneError(f"{workload.operator} adds one constant to all outputs")
    row = np.full(BLOCK, constants[0], np.int64)
    tiles: npt.NDArray[np.int8] = _bias_tiles(row, 1, bias_tiles(workload.epilogue.bias_bits))[0]
    return tiles


def bias_vector() -> npt.NDArray[np.int8]:
    """``int8[16]``: the constant input vector of the GEMM bias."""
    vector = np.full(BLOCK, BIAS_LANE_VALUE, np.int8)
    vector[0] = 1
    return vector


def pack_rows(values: npt.NDArray[np.integer[Any]], lanes: int = BLOCK) -> npt.NDArray[np.int32]:
    """``[O]`` as ``int32[ceil(O/lanes), lanes]`` accumulator rows: bias of the ALU and LOAD
    variants, shifts."""
    rows = np.zeros(-(-len(values) // lanes) * lanes, np.int32)
    rows[: len(values)] = values
    return rows.reshape(-1, lanes)
