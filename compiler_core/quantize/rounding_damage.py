"""What rounding weights to few levels does to each output channel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.blocks import Reals
from compiler_core.quantize.channel_exponents import least_error_channel_exponents
from compiler_core.quantize.exponents import MOST_CLIPPING

_SMALLEST = 1e-30


def channel_damage(weight: Reals, levels: int) -> npt.NDArray[np.float64]:
    """Squared error of each channel's weights at its best power-of-two scale, ``float64[O]``, per
    squared weight of the whole layer.

    Args:
        weight: ``float[O, ...]``.
        levels: The largest integer.
    """
    flat = np.asarray(weight, np.float64).reshape(len(weight), -1)
    exponents = least_error_channel_exponents(flat, MOST_CLIPPING, levels)[:, None]
    rounded = np.clip(np.rint(np.ldexp(flat, exponents)), -levels, levels)
    lost = ((np.ldexp(rounded, -exponents) - flat) ** 2).sum(axis=1)
    return np.asarray(lost / max(float((flat**2).sum()), _SMALLEST))
