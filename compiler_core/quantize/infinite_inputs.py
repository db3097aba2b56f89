"""Which inputs of a model may be infinite: those that no int8 stands for.

An infinite value that the NPU reads saturates there and stays infinite in the float model, so that
what is computed of it says nothing about either.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf, isfinite

import numpy as np

from compiler_core.accuracy.samples import EvaluationData, first_row
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.assignment import default_assignment
from compiler_core.units.names import is_on_cpu

_MASKING = frozenset(["Add", "Min", "Where"])


def may_be_infinite(graph: Graph, name: str, least: float, most: float) -> bool:
    """Whether an input may hold what int8 cannot: masks of -inf that are added, and anything that
    only the CPU reads. Elsewhere it is a fault of the data."""
    assignment = default_assignment(graph)
    readers = {node.op for node in graph.consumers(name) if not is_on_cpu(assignment[node.name])}
    is_mask = least == -inf and isfinite(most)
    return not readers or (is_mask and readers <= _MASKING)


def require_finite(
    data: EvaluationData, graph: Graph, quantized: Collection[str] | None = None
) -> None:
    """Refuses samples that are infinite where the NPU reads them.

    Args:
        data: Checked before, so that nothing in it is NaN.
        graph: The model.
        quantized: The inputs that the NPU reads, where they are known, as in a package; else what
            :func:`may_be_infinite` says of the model counts.

    Raises:
        InputError: One is infinite.
    """
    for name, array in data.inputs.items():
        row = first_row(array, np.isinf)
        if row is None:
            continue
        if quantized is None:
            if may_be_infinite(graph, name, float(array.min()), float(array.max())):
                continue
        elif name not in quantized:
            continue
        raise InputError(
            f"{data.where}: input {name!r} is infinite in sample "
            f"{row * data.samples // len(array)}; "
            "the NPU reads it as int8, which holds finite values only",
            hint="remove those samples, or clip them to the largest value that is meant",
        )
