"""Weights of cores with longer output vectors or weights of 4 bits
(:mod:`compiler_core.units.vta.structure.vectors`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InternalError
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.machine.hardware import INT8_BITS, VtaGeometry
from compiler_core.units.vta.structure.conv_structure import (
    BLOCK,
    conv_structure,
    direct_residual_shift,
)

Int8 = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]


def vector_weights(
    workload: ConvWorkload, weight: Int8, residual_shift: int, geometry: VtaGeometry
) -> Bytes:
    """Weight tiles in the order in which the lowering expects them.

    Args:
        workload: The convolution, in vectors.
        weight: ``int8[O, I / groups, kh, kw]``.
        residual_shift: Left shift of the residual, if the workload has one.
        geometry: Of the core.

    Returns:
        ``uint8[tiles, element bytes]``: the identities of the residual where there is one; then per
        output vector its tiles ``[vector of L channels][kh][kw][half]`` of
        ``[output lane][input lane]``.
    """
    lanes = geometry.block_out
    structure = conv_structure(workload)
    assert workload.vectors is not None
    # Few channels, and taps that became channels, are counted as they are, by 16.
    is_plain = weight.shape[1] * workload.vectors.groups <= workload.in_channels
    width = BLOCK if is_plain else lanes
    parts = []
    if workload.epilogue.residual_bits is not None:
        scale = 1 << min(residual_shift, direct_residual_shift(geometry.weight_bits))
        parts.append(identities(lanes) * np.int8(scale))
    for block, (low, high) in enumerate(structure.ranges):
        dense = _dense(workload, weight, block * lanes, low * width, high * width, lanes)
        parts.append(_tiles(workload, dense, lanes, is_plain=is_plain))
    return packed_weights(np.concatenate(parts), geometry)


def identities(lanes: int) -> Int8:
    """``int8[lanes / 16, lanes, 16]``: the tiles that put an output vector, read again by 16
    channels, into its lanes."""
    return np.ascontiguousarray(
        np.eye(lanes, dtype=np.int8).reshape(lanes, -1, BLOCK).transpose(1, 0, 2)
    )


def packed_weights(tiles: Int8, geometry: VtaGeometry) -> Bytes:
    """``int8[tiles, lanes, 16]`` as they lie in memory, ``uint8[tiles, element bytes]``.

    Raises:
        InternalError: A weight has more bits than the core's.
    """
    flat = tiles.reshape(len(tiles), -1)
    if geometry.weight_bits == INT8_BITS:
        return flat.view(np.uint8)
    limit = 1 << (geometry.weight_bits - 1)
    if flat.size and not -limit <= flat.min() <= flat.max() < limit:
        raise InternalError(
            f"weights from {flat.min()} to {flat.max()}; {geometry.weight_bits} bits hold "
            f"{-limit} to {limit - 1}"
        )
    nibbles = flat.view(np.uint8) & np.uint8(0xF)
    return np.asarray(nibbles[:, ::2] | nibbles[:, 1::2] << np.uint8(4), np.uint8)


def _dense(
    workload: ConvWorkload, weight: Int8, first: int, low: int, high: int, lanes: int
) -> Int8:
    """The weights of one output vector without groups, ``int8[lanes, high - low, kh, kw]``."""
    assert workload.vectors is not None
    outputs, group_in, kernel_h, kernel_w = weight.shape
    group_out = outputs // workload.vectors.groups
    dense = np.zeros((lanes, high - low, kernel_h, kernel_w), np.int8)
    rows = np.arange(first, min(first + lanes, outputs))
    columns = (rows // group_out * group_in - low)[:, None] + np.arange(group_in)
    dense[(rows - first)[:, None], columns] = weight[rows]
    return dense


def _tiles(workload: ConvWorkload, dense: Int8, lanes: int, *, is_plain: bool) -> Int8:
    """``int8[tiles, lanes, 16]`` of one output vector."""
    halves, (_, columns) = lanes // BLOCK, workload.window.kernel
    _, channels, kernel_h, kernel_w = dense.shape
    if is_plain:  # no zeros behind its channels are read
        blocks = dense.reshape(lanes, -1, BLOCK, kernel_h, kernel_w)
        return blocks.transpose(1, 3, 4, 0, 2).reshape(-1, lanes, BLOCK)
    spread = columns // halves
    if spread > kernel_w:
        step = (spread - 1) // (kernel_w - 1)
        filled = np.zeros((*dense.shape[:3], spread), np.int8)
        filled[..., ::step] = dense
        dense = filled
    tiles = dense.reshape(lanes, channels // lanes, halves, BLOCK, kernel_h, spread)
    return tiles.transpose(1, 4, 5, 2, 0, 3).reshape(-1, lanes, BLOCK)
