"""Statistics of activations over calibration data: one streaming pass.

Ranges and means are those of all values; magnitudes are counted for an even subset of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch, runs, take
from compiler_core.graph.session import FloatSession
from compiler_core.graph.work import tensor_bytes
from compiler_core.quantize.finite_inputs import may_be_infinite
from compiler_core.quantize.statistics import RunningStatistics, TensorRange

Samples = Mapping[str, npt.NDArray[np.float32]]
Progress = Callable[[int, int], None]
"""Told how many samples are done, and of how many."""

_BATCH = 8
_BLOCK_BYTES = 1 << 29
"""Bytes of tensors that are computed at the same time; samples and tensors are split to fit."""
_CHANNELS_MAX = 1 << 24
"""Channels of all tensors together; each takes 24 bytes."""
_PRODUCTS = ("MatMul", "Gemm", "Einsum")


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

    A tensor that becomes NaN or infinite (masked scores of an attention) is
    :attr:`TensorRange.UNBOUNDED`: it can stay in float, and nothing else. Memory does not grow with
    the number of samples.

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
            is out of range, or an input that is NaN or infinite and not one of those that may be.
    """
    count = check_samples(graph, samples)
    batch = model_batch(graph)
    for size in sizes:
        if not 0 < size <= count or size % batch:
            raise InputError(
                f"statistics of {size} samples; there are {count}, and whole runs of {batch}"
            )
    _check_channels(graph, tensors)
    inputs = [name for name in tensors if name in graph.inputs]
    inner = [name for name in tensors if name not in graph.inputs]
    groups, largest = _groups(graph, inner)
    sessions = [FloatSession(graph, g, inputs=graph.inputs, threads=threads) for g in groups]
    widths = _widths(graph)
    running = {name: RunningStatistics(_axes(graph, name, widths)) for name in tensors}
    found: dict[int, dict[str, TensorRange]] = {}
    unbounded: set[str] = set()
    # onnxruntime takes a fixed batch of more than one as it is and no multiple of it.
    step = batch if batch > 1 else max(1, min(_BATCH, _BLOCK_BYTES // largest))
    start = 0
    while start < max(sizes, default=0):
        end = min(start + step, *(size for size in sizes if size > start))
        block = take(graph, {name: samples[name] for name in graph.inputs}, start, end)
        for name, value in _values(graph, block, inputs, sessions):
            least, most = running[name].add(value)
            if isfinite(least) and isfinite(most):
                continue
            unbounded.add(name)
            if name in graph.inputs and not may_be_infinite(graph, name, least, most):
                raise InputError(
                    f"tensor {name!r} is not finite for calibration samples {start} to "
                    f"{end - 1} (minimum {least}, maximum {most})",
                    hint="remove those samples or check the model in float",
                )
        start = end
        progress(start, max(sizes))
        if start in sizes:
            found[start] = {name: kept.snapshot() for name, kept in running.items()}
    return {
        size: known | dict.fromkeys(sorted(unbounded), TensorRange.UNBOUNDED)
        for size, known in found.items()
    }


def _values(
    graph: Graph, block: Samples, inputs: Sequence[str], sessions: Sequence[FloatSession]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Values of the wanted tensors: at once where only leading axes carry samples, else by runs."""
    yield from ((name, block[name]) for name in inputs)
    together = graph.dynamic_batch >= set(graph.inputs) and not graph.batch_dependent
    for session in sessions:
        for feeds in [block] if together else runs(graph, block):
            yield from session.run(feeds).items()


def _groups(graph: Graph, tensors: Sequence[str]) -> tuple[list[list[str]], int]:
    """Tensors that are computed together, so that memory is bounded, and the bytes of a group."""
    groups: list[list[str]] = []
    largest, held = 1, 0
    for name in tensors:
        size = tensor_bytes(graph.types.get(name)) or 0
        if not groups or held + size > _BLOCK_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
        largest = max(largest, held)
    return groups, largest


def _check_channels(graph: Graph, tensors: Sequence[str]) -> None:
    """Refuses statistics that would take more memory than the tensors themselves."""
    total, widths = 0, _widths(graph)
    for name in tensors:
        shape = graph.types[name].shape or ()
        total += sum(shape[axis] or 0 for axis in _axes(graph, name, widths))
        if total > _CHANNELS_MAX:
            raise InputError(
                f"tensor {name!r} of shape {shape}: {total} channels, with those of the tensors "
                f"before it; statistics of at most {_CHANNELS_MAX} are kept",
                hint="give smaller sizes: those of a network for an embedded system",
            )


def _axes(graph: Graph, tensor: str, widths: Collection[int]) -> tuple[int, ...]:
    """Axes that may be the channels of an operator: the first, and the last of a token matrix.

    That is as wide as something is that multiplies tokens; steps of a signal are no channels."""
    shape = graph.types[tensor].shape or ()
    axes = {1} if len(shape) > 1 else set()
    if tensor in graph.inputs or (len(shape) == 3 and shape[-1] in widths):
        axes.add(len(shape) - 1)
    return tuple(sorted(axes - {0}))


def _widths(graph: Graph) -> frozenset[int]:
    """Sizes of the axes of constants, and of the last ones of what is multiplied."""
    found = {size for array in graph.constants.values() for size in array.shape}
    for node in graph.nodes:
        if node.op in _PRODUCTS:
            known = (graph.types.get(name) for name in (*node.inputs, *node.outputs))
            found |= {item.shape[-1] or 0 for item in known if item is not None and item.shape}
    return frozenset(found)
