"""Windows that no schedule fits: what one output needs at a time has to lie in the buffers.

The limits are those of the largest buffers that instructions address, which all published VTA
configurations have. A target with smaller ones may still refuse a schedule.
"""

from __future__ import annotations

from math import prod

INPUT_ELEMENTS = 2048
WEIGHT_ELEMENTS = 1024

_INPUTS_BESIDE = 3
"""A constant for the bias and two slots of a residual."""
_WEIGHTS_BESIDE = 3
"""Two tiles for the bias and one for a residual."""


def window_misfit(
    kernel: tuple[int, int],
    dilations: tuple[int, int],
    image: tuple[int, int],
    *,
    distinct_weights: bool,
) -> str | None:
    """Why an operator cannot run on the NPU whatever its schedule; ``None`` where it can.

    Args:
        kernel, dilations: Of its window, ``(h, w)``.
        image: Rows and columns of its input; padding is never loaded.
        distinct_weights: Whether each tap has weights of its own.
    """
    spread = [
        min(size, dilation * (taps - 1) + 1)
        for taps, dilation, size in zip(kernel, dilations, image, strict=True)
    ]
    allowed = INPUT_ELEMENTS - _INPUTS_BESIDE
    if prod(spread) > allowed:
        return (
            f"one output reads {spread[0]}x{spread[1]} = {prod(spread):,} pixels; {allowed:,} fit "
            "the input buffer"
        )
    allowed = WEIGHT_ELEMENTS - _WEIGHTS_BESIDE
    if distinct_weights and prod(kernel) > allowed:
        return (
            f"one output has {kernel[0]}x{kernel[1]} = {prod(kernel):,} taps; the weights of "
            f"{allowed:,} fit their buffer"
        )
    return None
