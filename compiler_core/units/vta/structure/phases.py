"""Output channels that are phases of a larger image: how they lie in blocks and accumulators.

With ``b`` rows and columns of phases, blocks are in the order ``[phase row][channels][phase
column]``, and the ``b`` blocks of a phase row lie side by side in the accumulators, pixel by pixel:
what is stored at once are whole rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.structure.conv_structure import BLOCK


def channel_order(workload: ConvWorkload) -> npt.NDArray[np.int64]:
    """The channel of the operator that each output channel of the program is."""
    size = workload.interleave
    order = np.arange(workload.out_channels)
    return order.reshape(size, size, -1, BLOCK).transpose(0, 2, 1, 3).reshape(-1)
