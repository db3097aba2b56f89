"""Statistics of activations over calibration data: one streaming pass.

Ranges and means are those of all values; magnitudes are counted for an even subset of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.statistics import RunningStatistics, TensorRange

Samples = Mapping[str, npt.NDArray[np.float32]]
Progress = Callable[[int, int], None]
"""Told how many samples are done, and of how many."""

_BATCH = 8

__all__ = ["TensorRange", "calibrate", "check_samples", "gather", "model_batch"]


def calibrate(
    graph: Graph, samples: Samples, tensors: Sequence[str], *, threads: int = 1
) -> dict[str, TensorRange]:
    """:func:`gather` over all samples.

    Raises:
        InputError: As :func:`gather`.
    """
    count = check_samples(graph, samples)
    return gather(graph, samples, tensors, [count], threads=threads)[count]


def gather(
    graph: Graph,
    samples: Samples,
    tensors: Sequence[str],
    sizes: Collection[int],
    *,
    threads: int = 1,
    progress: Progress = lambda _done, _total: None,
) -> dict[int, dict[str, TensorRange]]:
    """Run ``graph`` in float over ``samples`` once and gather what is known of ``tensors``.

    Memory does not grow with the number of samples.

    Args:
        graph: The float graph.
        samples: Array per graph input; the leading axis counts the samples.
        tensors: Tensors of the graph: inputs, intermediate ones or outputs.
        sizes: Numbers of samples, from the first one, after which to take down what is known.
        threads: Threads of onnxruntime.
        progress: Told after every batch.

    Returns:
        Statistics per tensor, by size.

    Raises:
        InputError: No samples, inputs that differ in length or do not fit the graph, a size that
            is out of range, or a tensor that becomes NaN or infinite.
    """
    count = check_samples(graph, samples)
    batch = model_batch(graph)
    for size in sizes:
        if not 0 < size <= count or size % batch:
            raise InputError(
                f"statistics of {size} samples; there are {count}, and whole runs of {batch}"
            )
    inputs = [name for name in tensors if name in graph.inputs]
    inner = [name for name in tensors if name not in graph.inputs]
    session = FloatSession(graph, inner, inputs=graph.inputs, threads=threads) if inner else None
    running = {name: RunningStatistics(_axes(graph, name)) for name in tensors}
    found: dict[int, dict[str, TensorRange]] = {}
    # onnxruntime takes a fixed batch of more than one as it is and no multiple of it.
    step = batch if batch > 1 else _BATCH
    start = 0
    while start < max(sizes, default=0):
        end = min(start + step, *(size for size in sizes if size > start))
        feeds = {name: samples[name][start:end] for name in graph.inputs}
        values = {name: feeds[name] for name in inputs}
        if session is not None:
            values.update(session.run(feeds))
        for name, value in values.items():
            least, most = running[name].add(value)
            if not (isfinite(least) and isfinite(most)):
                raise InputError(
                    f"tensor {name!r} is not finite for calibration samples {start} to "
                    f"{end - 1} (minimum {least}, maximum {most})",
                    hint="remove those samples or check the model in float",
                )
        start = end
        progress(start, max(sizes))
        if start in sizes:
            found[start] = {name: kept.snapshot() for name, kept in running.items()}
    return found


def _axes(graph: Graph, tensor: str) -> tuple[int, ...]:
    """Axes that may be the channels of an operator: the first, and the last of a token matrix."""
    rank = len(graph.types[tensor].shape or ())
    axes = {1} if rank > 1 else set()
    if rank == 3 or tensor in graph.inputs:
        axes.add(rank - 1)
    return tuple(sorted(axes - {0}))


def model_batch(graph: Graph) -> int:
    """Samples of one run: what the model fixes, 1 where its batch axis is dynamic."""
    shape = graph.types[graph.inputs[0]].shape if graph.inputs else None
    return int(shape[0] or 1) if shape else 1


def check_samples(graph: Graph, samples: Mapping[str, npt.NDArray[np.generic]]) -> int:
    """The number of samples.

    Raises:
        InputError: None at all, a missing or surplus input, a wrong shape or type, or a number that
            is not a multiple of the model's fixed batch.
    """
    unknown = sorted(set(samples) - set(graph.inputs))
    missing = sorted(set(graph.inputs) - set(samples))
    if unknown or missing:
        raise InputError(
            f"inputs given: {', '.join(samples) or 'none'}; the model has {', '.join(graph.inputs)}"
        )
    counts = set()
    for name, array in samples.items():
        known = graph.types[name]
        expected = known.shape or ()
        if array.shape[1:] != expected[1:] or array.ndim != len(expected):
            wanted = ", ".join(["samples", *map(str, expected[1:])])
            raise InputError(f"input {name!r} has shape {array.shape}; expected ({wanted})")
        if array.dtype.name != known.dtype:
            raise InputError(f"input {name!r} is {array.dtype}; expected {known.dtype}")
        counts.add(len(array))
    batch = model_batch(graph)
    if len(counts) != 1 or 0 in counts or any(count % batch for count in counts):
        raise InputError(
            f"the inputs hold {', '.join(map(str, sorted(counts)))} samples; expected one number "
            f"for all, at least 1 and a multiple of the model's batch {batch}"
        )
    return counts.pop()
