"""Which inputs of a model may be NaN or infinite: those that stay in float.

There is no int8 for NaN, and an infinite value that the NPU reads saturates there and stays
infinite in the float model, so that what is computed of it says nothing about either. The same
holds for what the CPU makes of such an input before the NPU reads it, and for the outputs that a
model is judged by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import inf, isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.samples import EvaluationData, first_row
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import model_batch, runs, take
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assignment import default_assignment
from compiler_core.units.names import is_on_cpu

_MASKING = frozenset(["Add", "Min", "Where"])
_FLOATS = ("float32", "float16", "float64")
_INTEGERS = "the NPU reads it as int8, which holds finite values only"


def may_be_infinite(graph: Graph, name: str, least: float, most: float) -> bool:
    """Whether an input may hold what int8 cannot: masks of -inf that are added, and anything that
    only the CPU reads. Elsewhere it is a fault of the data."""
    assignment = default_assignment(graph)
    readers = {node.op for node in graph.consumers(name) if not is_on_cpu(assignment[node.name])}
    return not readers or (_is_mask(least, most) and readers <= _MASKING)


def require_finite(
    data: EvaluationData,
    graph: Graph,
    quantized: Collection[str] | None = None,
    *,
    judged: Collection[str] = (),
) -> None:
    """Refuses samples that are NaN or infinite where the NPU reads them, or what the CPU makes of
    them before.

    Args:
        data: The samples.
        graph: The model, or its signature.
        quantized: The inputs that the NPU reads, where they are known, as in a package; else what
            :func:`may_be_infinite` says of the model counts.
        judged: Outputs that have to be finite, too.

    Raises:
        InputError: One is, or makes so what the NPU reads or an output that is judged.
    """
    doubtful: dict[int, str] = {}
    for name, array in data.inputs.items():
        row = first_row(array, _is_not_finite)
        if row is None:
            continue
        least, most = float(array.min()), float(array.max())
        if quantized is None:
            is_read = not may_be_infinite(graph, name, least, most)
        else:
            is_read = name in quantized
        if is_read:
            raise InputError(
                f"{_found(data, name, row)}; {_INTEGERS}",
                hint="remove those samples, or mend what writes them"
                if np.isnan(array[row]).any()
                else "remove those samples, or clip them to the largest value that is meant",
            )
        if _is_mask(least, most):  # what it hides is meant to be so
            continue
        for row in _rows(array):
            doubtful.setdefault(row * data.samples // len(array), name)
    if doubtful and graph.nodes and set(graph.inputs) <= data.inputs.keys():
        _require_finite_within(data, graph, doubtful, judged)


def _require_finite_within(
    data: EvaluationData, graph: Graph, doubtful: dict[int, str], judged: Collection[str]
) -> None:
    """Refuses samples of which the float model makes what is not finite where that counts.

    Args:
        data: The samples.
        graph: The model.
        doubtful: Input that is not finite, by sample.
        judged: Outputs that have to be finite.
    """
    read = _read_of_cpu(graph, set(doubtful.values()))
    wanted = [*read, *(name for name in judged if name in graph.outputs and name not in read)]
    wanted = [name for name in wanted if name in graph.types and graph.types[name].dtype in _FLOATS]
    if not wanted:
        return
    session, batch = FloatSession(graph, wanted, inputs=graph.inputs), model_batch(graph)
    arrays = {name: data.inputs[name] for name in graph.inputs}
    of_run: dict[int, tuple[int, str]] = {}
    for sample, name in sorted(doubtful.items()):
        of_run.setdefault(sample // batch, (sample, name))
    for run, (sample, name) in of_run.items():
        part = take(graph, arrays, run * batch, (run + 1) * batch)
        for feed in runs(graph, part):
            for tensor, value in session.run(feed).items():
                if np.isfinite(value).all():
                    continue
                row = sample * len(data.inputs[name]) // data.samples
                why = "which the NPU reads as int8" if tensor in read else "by which it is judged"
                raise InputError(
                    f"{_found(data, name, row)}, and {tensor!r}, {why}, is not finite there",
                    hint="remove those samples, or mend what writes them",
                )


def _read_of_cpu(graph: Graph, names: Collection[str]) -> list[str]:
    """What the NPU reads of what the CPU alone makes of some inputs."""
    assignment = default_assignment(graph)
    reached, read = set(names), dict[str, None]()
    for node in graph.nodes:
        inside = [name for name in node.inputs if name in reached]
        if is_on_cpu(assignment[node.name]):
            reached |= set(node.outputs) if inside else set()
        else:
            read |= dict.fromkeys(name for name in inside if name not in graph.inputs)
    return list(read)


def _found(data: EvaluationData, name: str, row: int) -> str:
    """An input and the sample in which it is not finite, in words."""
    array = data.inputs[name]
    kind = "NaN" if np.isnan(array[row]).any() else "infinite"
    return f"{data.where}: input {name!r} is {kind} in sample {row * data.samples // len(array)}"


def _rows(array: npt.NDArray[np.generic]) -> Iterator[int]:
    """The places along the leading axis that are not finite everywhere."""
    for row in range(len(array)):
        if _is_not_finite(array[row]).any():
            yield row


def _is_not_finite(array: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    return np.asarray(~np.isfinite(array))


def _is_mask(least: float, most: float) -> bool:
    return least == -inf and isfinite(most)
