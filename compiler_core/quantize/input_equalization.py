"""Channels of very different size that enter from float code share one int8 scale badly.

Before such a tensor becomes int8, the CPU multiplies each channel by a factor, and the rows of the
weights that read it are divided by it: the same function, but every channel uses all eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange
from compiler_core.units.names import CPU

_UNEVEN = 8.0
"""Only where the largest channel exceeds the median one by more than this."""
DENSE = ("Dense", "MatMul", "Gemm")

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rewritten:
    """A graph changed at its borders.

    Attributes:
        graph: Computes the same.
        assignment: With the new nodes, which run on the CPU.
        ranges: With the new tensors.
    """

    graph: Graph
    assignment: Mapping[str, str]
    ranges: Mapping[str, TensorRange]


def equalize_inputs(
    graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> Rewritten:
    """Insert factors where float code alone writes, and one dense layer of the NPU alone reads.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor; those of channels are needed to equalize them.
    """
    nodes: list[Node] = []
    constants, types = dict(graph.constants), dict(graph.types)
    units, known = dict(assignment), dict(ranges)
    dynamic = set(graph.dynamic_batch)
    scaled: dict[str, str] = {}
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else ""
        factors = _factors(graph, node, assignment, ranges)
        if factors is None:
            nodes.append(node)
            continue
        if source not in scaled:
            fresh, factor = (
                fresh_name(f"{source}/{kind}", types) for kind in ("equalized", "factors")
            )
            scaled[source] = fresh
            constants[factor] = factors.astype(np.float32)
            types[factor] = TensorType("float32", constants[factor].shape)
            types[fresh] = graph.types[source]
            if source in dynamic:
                dynamic.add(fresh)
            name = f"{node.name}/equalize"
            nodes.append(Node(name, "Mul", (source, factor), (fresh,)))
            units[name] = CPU
            axis = len(graph.types[source].shape or ()) - 1
            known[fresh] = scaled_range(ranges[source], factors, axis)
        weights = node.inputs[1]
        rows = fresh_name(f"{source}/rows", types)
        matrix = np.asarray(graph.constants[weights], np.float64)
        divided = matrix / (factors[None, :] if node.attributes.get("transB") else factors[:, None])
        constants[rows] = divided.astype(graph.constants[weights].dtype)
        types[rows] = graph.types[weights]
        nodes.append(replace(node, inputs=(scaled[source], rows, *node.inputs[2:])))
    if not scaled:
        return Rewritten(graph, assignment, ranges)
    changed = replace(
        graph,
        nodes=tuple(nodes),
        constants=constants,
        types=types,
        dynamic_batch=frozenset(dynamic),
    )
    return Rewritten(changed, units, known)


def fresh_name(name: str, taken: Mapping[str, object]) -> str:
    """``name``, made longer until it is not ``taken``."""
    while name in taken:
        name += "_"
    return name


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
    return np.asarray(np.ldexp(1.0, -np.ceil(np.log2(sizes)).astype(np.int64)))


def scaled_range(known: TensorRange, factors: _Floats, axis: int) -> TensorRange:
    """Statistics of a tensor whose features are multiplied."""
    channels = known.channels[axis]
    low, high = channels.low * factors, channels.high * factors
    statistics = ChannelStatistics(low, high, channels.mean * factors)
    return TensorRange(float(low.min()), float(high.max()), channels={axis: statistics})
