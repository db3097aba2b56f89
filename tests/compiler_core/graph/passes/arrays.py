"""Constants of the graphs that passes are tested on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ramp(*shape: int) -> npt.NDArray[np.float32]:
    """Small whole numbers of both signs, no two neighbours alike."""
    return ((np.arange(np.prod(shape)) * 5) % 7 - 3).astype(np.float32).reshape(shape)


def i64(*values: int) -> npt.NDArray[np.int64]:
    """What shapes, axes and paddings are made of."""
    return np.array(values, np.int64)
