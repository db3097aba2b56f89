"""Operators on cores whose output vectors are longer than their input vectors, or whose weights are
no int8: as operators on the usual core, of which one vector stands for 16 channels.

A vector of ``L = 16 h`` output channels is stored as ``L`` adjacent bytes, which are ``h`` input
vectors when read again. So tensors lie as ``[C/L][H][W][L]``, and whoever reads them sees images of
``h W`` columns: column ``h x + k`` holds channels ``16 k`` to ``16 k + 15`` of pixel ``x``. Over
that image a convolution is one whose kernel, stride and padding are ``h`` times as wide, with one
block of channels for every ``L``: the rest of the lowering need not know more.

| what | counts |
|---|---|
| channels of input and output | 16 for each vector of ``L`` |
| columns of the input, of the kernel and of its steps | input vectors, ``h`` a pixel |
| columns of the output | output vectors, one a pixel |

Operands of at most 16 channels have zeros behind them, which are not multiplied: then the columns
of the kernel are ``h`` apart, and of less than 16 in one group the channels are counted. A kernel
of several columns with a dilation is filled with zeros.
"""

from __future__ import annotations

from dataclasses import replace

from compiler_core.tensor.from_integer import DIRECT_RESIDUAL_BITS, FAR_RESIDUAL_BITS
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Vectors,
    Window,
    Workload,
)
from compiler_core.units.vta.machine.hardware import INT8_BITS, VtaGeometry
from compiler_core.units.vta.structure.conv_structure import BLOCK, direct_residual_shift

NO_GEMM_BIAS_BITS = 32
"""Bits of constants that no tiles of weights hold: those of 4 bits hold none."""


def is_usual(geometry: VtaGeometry) -> bool:
    """Whether a core has vectors of 16 lanes and int8 weights: workloads then count channels."""
    return geometry.block_out == BLOCK and geometry.weight_bits == INT8_BITS


def in_vectors(
    workload: Workload, geometry: VtaGeometry, residual_shift: int | None = None
) -> Workload:
    """An operator as a core sees it.

    Args:
        workload: In channels.
        geometry: Of the core.
        residual_shift: Left shift of the residual of a convolution, where it has one.
    """
    if is_usual(geometry):
        return workload
    lanes = geometry.block_out
    if isinstance(workload, MaxPoolWorkload):
        vectors = Vectors(lanes, workload.operator, workload.macs)
        channels = _vectors_of(workload.channels, lanes) * BLOCK
        return replace(workload, channels=channels, vectors=vectors)
    epilogue = workload.epilogue
    if residual_shift is not None:
        direct = residual_shift <= direct_residual_shift(geometry.weight_bits)
        bits = DIRECT_RESIDUAL_BITS if direct else FAR_RESIDUAL_BITS
        epilogue = replace(epilogue, residual_bits=bits)
    return _conv(workload, epilogue, lanes)


def _conv(w: ConvWorkload, epilogue: Epilogue, lanes: int) -> ConvWorkload:
    halves = lanes // BLOCK
    sources, results = _vectors_of(w.in_channels, lanes), _vectors_of(w.out_channels, lanes)
    if epilogue.bias_bits:
        epilogue = replace(epilogue, bias_bits=NO_GEMM_BIAS_BITS)
    # Of a few channels it is known how many: where the CPU lays them out, taps may fold into lanes.
    few = w.groups == 1 and w.in_channels < BLOCK
    return replace(
        w,
        in_channels=w.in_channels if few else sources * BLOCK,
        in_width=w.in_width * halves,
        out_channels=results * BLOCK,
        window=_window(w, halves),
        groups=_groups(w, lanes, sources, results),
        epilogue=epilogue,
        uniform=False,
        entry=w.entry and few,
        vectors=Vectors(lanes, w.operator, w.macs, w.groups),
    )


def _vectors_of(channels: int, lanes: int) -> int:
    return -(-channels // lanes)


def _window(w: ConvWorkload, halves: int) -> Window:
    window = w.window
    (height, width), (down, across) = window.kernel, window.dilations
    top, left, bottom, right = window.pads
    strides = (window.strides[0], halves * window.strides[1])
    pads = (top, halves * left, bottom, halves * right)
    if w.in_channels <= BLOCK or halves == 1:
        return Window((height, width), strides, pads, (down, halves * across))
    return Window((height, halves * (across * (width - 1) + 1)), strides, pads, (down, 1))


def _groups(w: ConvWorkload, lanes: int, sources: int, results: int) -> int:
    """Groups of vectors: one each where no channel needs another vector, as few as groups of whole
    vectors leave, or one."""
    if w.groups == 1:
        return 1
    group_out, group_in = w.out_channels // w.groups, w.in_channels // w.groups
    if group_out % lanes == 0 and group_in % lanes == 0:
        return w.groups
    for block in range(results):
        first, last = block * lanes, min((block + 1) * lanes, w.out_channels) - 1
        low, high = first // group_out * group_in, (last // group_out + 1) * group_in
        if (low // lanes, _vectors_of(high, lanes)) != (block, block + 1):
            return 1
    return sources if sources == results else 1
