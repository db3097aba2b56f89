"""Weights of 4 bits, unpacked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unpack_int4(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int8]:
    """The inverse of ``pack_int4`` for ``count`` integers."""
    halves = np.stack((packed & 15, packed >> 4), axis=1).ravel()[:count].astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)
