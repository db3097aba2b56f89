"""Windows that no schedule fits: what one step needs at a time has to lie in the buffers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from compiler_core.quantize.arithmetic import OperatorWindow
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.structure.kernel_tiles import kernel_tile

_INPUTS_BESIDE = 3
"""A constant for the bias and two slots of a residual."""
_WEIGHTS_BESIDE = 3
"""Two tiles for the bias and one for a residual."""
_OUTPUTS = 1
"""Of the smallest tile."""


@dataclass(frozen=True)
class BufferLimits:
    """Elements that the buffers hold; by default those of the largest buffers that instructions
    address, which all published VTA configurations have."""

    inputs: int = 2048
    weights: int = 1024
    accumulators: int = 2048


LARGEST = BufferLimits()

CHANNEL_BLOCK = 16
_BLOCKS_OF_A_PART = 1024
"""Half of the accumulators for constants, half for results."""


def channel_parts(channels: int, lanes: int = CHANNEL_BLOCK) -> tuple[slice, ...]:
    """Output channels of the parts of an operator with more constants than the largest accumulators
    hold; one part where it has not."""
    blocks = -(-channels // lanes)
    if blocks <= LARGEST.accumulators - _OUTPUTS:
        return (slice(0, channels),)
    step = lanes * -(-blocks // -(-blocks // _BLOCKS_OF_A_PART))
    return tuple(slice(first, min(first + step, channels)) for first in range(0, channels, step))


def buffer_limits(machine: VtaCore) -> BufferLimits:
    """Of a core."""
    depth = machine.geometry.depth
    return BufferLimits(
        min(depth.inp, LARGEST.inputs),
        min(depth.wgt, LARGEST.weights),
        min(depth.acc, LARGEST.accumulators),
    )


def window_misfit(window: OperatorWindow, limits: BufferLimits = LARGEST) -> str | None:
    """Why an operator cannot run on the NPU whatever its schedule; ``None`` where it can.

    Windows that are multiplied are cut where not even the largest buffers hold them
    (:mod:`compiler_core.units.vta.structure.kernel_tiles`); it is a part that has to fit then.

    Args:
        window: What one output reads. A convolution may keep a bias or a shift of each vector of
            output channels.
        limits: Of the buffers.
    """
    kernel = window.kernel
    if not window.compares and not window.whole:
        kernel = kernel_tile(
            kernel, window.dilations, window.image, distinct_weights=window.distinct_weights
        )
    spread = [
        min(size, dilation * (taps - 1) + 1)
        for taps, dilation, size in zip(kernel, window.dilations, window.image, strict=True)
    ]
    pixels = f"one output reads {spread[0]}x{spread[1]} = {prod(spread):,} pixels"
    allowed = limits.inputs - _INPUTS_BESIDE
    if prod(spread) > allowed:
        return f"{pixels}; {allowed:,} fit the input buffer"
    allowed = limits.accumulators - _OUTPUTS
    if window.compares:
        fits = prod(spread) <= allowed
        return None if fits else f"{pixels}; {allowed:,} fit the accumulators"
    vectors = blocks(window.outputs)
    if vectors > allowed:
        return (
            f"it has constants for {vectors:,} vectors of output channels; {allowed:,} fit the "
            "accumulators"
        )
    allowed = limits.weights - _WEIGHTS_BESIDE
    taps = prod(kernel) if window.distinct_weights else 1
    if taps > allowed:
        return (
            f"one output has {kernel[0]}x{kernel[1]} = {taps:,} taps; the weights of "
            f"{max(0, allowed):,} fit their buffer"
        )
    return None
