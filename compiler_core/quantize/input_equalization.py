"""Channels of very different size that enter from float code share one int8 scale badly.

Before such a tensor becomes int8, the CPU multiplies each channel by a factor, and the rows of the
weights that read it are divided by it: the same function, but every channel uses all eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.border_writer import BorderWriter, Rewritten
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange
from compiler_core.units.names import CPU

_UNEVEN = 8.0
"""Only where the largest channel exceeds the median one by more than this."""
DENSE = ("Dense", "MatMul", "Gemm")

_Floats = npt.NDArray[np.float64]


def equalize_inputs(
    graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> Rewritten:
    """Insert factors where float code alone writes, and one dense layer of the NPU alone reads.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor; those of channels are needed to equalize them.
    """
    writer = BorderWriter(graph, assignment, ranges)
    scaled: dict[str, str] = {}
    for node in graph.nodes:
        factors = _factors(graph, node, assignment, ranges)
        if factors is None:
            writer.nodes.append(node)
            continue
        source, weights = node.inputs[:2]
        if source not in scaled:
            factor = writer.constant(f"{source}/factors", factors.astype(np.float32))
            even = scaled[source] = writer.tensor(source, "equalized")
            writer.on_cpu("Mul", (source, factor), even, name=f"{node.name}/equalize")
            axis = len(graph.types[source].shape or ()) - 1
            writer.ranges[even] = scaled_range(ranges[source], factors, axis)
        matrix = np.asarray(graph.constants[weights], np.float64)
        divided = matrix / (factors[None, :] if node.attributes.get("transB") else factors[:, None])
        rows = writer.constant(f"{source}/rows", divided.astype(graph.constants[weights].dtype))
        writer.nodes.append(replace(node, inputs=(scaled[source], rows, *node.inputs[2:])))
    return writer.finish()


def _factors(
    graph: Graph, node: Node, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> _Floats | None:
    """Factor per feature of the input of a dense layer, as powers of two; ``None`` to leave it."""
    source = node.inputs[0] if node.inputs else ""
    if not _is_dense(graph, node, assignment) or source not in ranges:
        return None
    producer = graph.producer(source)
    if producer is not None and assignment[producer.name] != CPU:
        return None
    for reader in graph.consumers(source):
        if assignment[reader.name] != CPU and not _is_dense(graph, reader, assignment):
            return None  # would take it in the scale of all channels beside
    sizes = channel_sizes(graph, source, ranges)
    if sizes is None or sizes.max() < _UNEVEN * np.median(sizes[sizes > 0]):
        return None
    return factors_of(sizes)


def _is_dense(graph: Graph, node: Node, assignment: Mapping[str, str]) -> bool:
    """Whether a unit multiplies what a node reads by constants."""
    constant = len(node.inputs) > 1 and node.inputs[1] in graph.constants
    return node.op in DENSE and constant and assignment[node.name] != CPU


def channel_sizes(graph: Graph, tensor: str, ranges: Mapping[str, TensorRange]) -> _Floats | None:
    """Largest magnitude per feature, the last axis; ``None`` where it is unknown or all are 0."""
    known = ranges.get(tensor)
    axis = len(graph.types[tensor].shape or ()) - 1
    channels = None if known is None else known.channels.get(axis)
    if channels is None:
        return None
    sizes = np.maximum(np.abs(channels.low), np.abs(channels.high))
    return sizes if (sizes > 0).any() and np.isfinite(sizes).all() else None


def factors_of(sizes: _Floats) -> _Floats:
    """Powers of two that bring channels of these sizes to 1, about."""
    # A channel of zeros in calibration may hold anything later: it keeps the factor of the largest.
    sizes = np.where(sizes > 0, sizes, sizes.max())
    mantissas, exponents = np.frexp(sizes)
    return np.asarray(np.ldexp(1.0, -(exponents - (mantissas == 0.5))))


def scaled_range(known: TensorRange, factors: _Floats, axis: int) -> TensorRange:
    """Statistics of a tensor whose features are multiplied."""
    channels = known.channels[axis]
    low, high = channels.low * factors, channels.high * factors
    statistics = ChannelStatistics(low, high, channels.mean * factors)
    return TensorRange(float(low.min()), float(high.max()), channels={axis: statistics})
