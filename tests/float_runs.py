"""Float models, run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession


def run_float(
    graph: Graph,
    inputs: Mapping[str, npt.NDArray[Any]],
    outputs: Sequence[str] | None = None,
    *,
    threads: int = 1,
) -> dict[str, npt.NDArray[Any]]:
    """Outputs of one run of a graph; errors are those of
    :class:`~compiler_core.graph.session.FloatSession`."""
    return FloatSession(graph, outputs, threads=threads).run(inputs)
