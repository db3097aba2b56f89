"""Second moments of what operators read, over calibration samples: what GPTQ rounds by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import runs
from compiler_core.graph.session import FloatSession

_ROWS = 1 << 14
"""Vectors of one tensor that are counted, at most."""


def input_moments(
    graph: Graph, samples: Mapping[str, npt.NDArray[Any]], tensors: set[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """``E[x x']`` over the last axis, ``float64[K, K]``, of each tensor.

    Args:
        graph: The float graph.
        samples: Array per graph input.
        tensors: Float tensors of it.
    """
    computed = sorted(tensors - set(graph.inputs))
    session = FloatSession(graph, computed, optimize=False) if computed else None
    sums: dict[str, npt.NDArray[np.float64]] = {}
    counts = dict.fromkeys(tensors, 0)
    for feeds in runs(graph, samples):
        if all(count >= _ROWS for count in counts.values()):
            break
        values = dict(feeds) | ({} if session is None else session.run(feeds))
        for name in tensors:
            rows = np.asarray(values[name], np.float64)
            rows = rows.reshape(-1, rows.shape[-1])[: max(0, _ROWS - counts[name])]
            sums[name] = sums.get(name, 0.0) + rows.T @ rows
            counts[name] += len(rows)
    return {name: total / max(1, counts[name]) for name, total in sums.items()}
