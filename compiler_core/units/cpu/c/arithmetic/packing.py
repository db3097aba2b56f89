"""Weights of 4 bits, two to a byte: element ``2i`` in the low half, ``2i + 1`` in the high half.

The whole tensor is packed in its own order; rows are not padded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def pack_int4(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Packs integers from −8 to 7; an odd last half is zero."""
    flat = np.asarray(values, np.int64).ravel() & 15
    padded = np.append(flat, np.zeros(len(flat) % 2, np.int64))
    return np.asarray(padded[0::2] | padded[1::2] << 4, np.uint8)


def pack_groups(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Packs integers from −8 to 7 for ``nt_unpack_s4``: of each eight, the first four in the low
    halves of four bytes, the others in their high halves; what is missing of the last eight is
    zero."""
    flat = np.asarray(values, np.int64).ravel() & 15
    groups = np.append(flat, np.zeros(-len(flat) % 8, np.int64)).reshape(-1, 2, 4)
    return np.asarray((groups[:, 0] | groups[:, 1] << 4).ravel(), np.uint8)
