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
_DENSE = ("Dense", "MatMul", "Gemm")

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
    for node in graph.nodes:
        factors = _factors(graph, node, assignment, ranges)
        if factors is None:
            nodes.append(node)
            continue
        source, weights = node.inputs[0], node.inputs[1]
        scaled, factor, rows = (
            fresh_name(f"{source}/{kind}", types) for kind in ("equalized", "factors", "rows")
        )
        constants[factor] = factors.astype(np.float32)
        types[factor] = TensorType("float32", constants[factor].shape)
        matrix = np.asarray(graph.constants[weights], np.float64)
        divided = matrix / (factors[None, :] if node.attributes.get("transB") else factors[:, None])
        constants[rows] = divided.astype(graph.constants[weights].dtype)
        types[rows] = graph.types[weights]
        types[scaled] = graph.types[source]
        if source in dynamic:
            dynamic.add(scaled)
        name = f"{node.name}/equalize"
        nodes.append(Node(name, "Mul", (source, factor), (scaled,)))
        nodes.append(replace(node, inputs=(scaled, rows, *node.inputs[2:])))
        units[name] = CPU
        known[scaled] = _scaled(ranges[source], factors, len(graph.types[source].shape or ()) - 1)
    changed = replace(
        graph,
        nodes=tuple(nodes),
        constants=constants,
        types=types,
        dynamic_batch=frozenset(dynamic),
    )
    return (
        Rewritten(changed, units, known)
        if len(nodes) > len(graph.nodes)
        else Rewritten(graph, assignment, ranges)
    )


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
    if node.op not in _DENSE or assignment[node.name] == CPU or source not in ranges:
        return None
    if node.inputs[1] not in graph.constants:
        return None  # a product of two activations
    producer = graph.producer(source)
    if producer is not None and assignment[producer.name] != CPU:
        return None
    if len(graph.consumers(source)) != 1 or source in graph.outputs:
        return None
    channels = ranges[source].channels.get(len(graph.types[source].shape or ()) - 1)
    if channels is None:
        return None
    sizes = np.maximum(np.abs(channels.low), np.abs(channels.high))
    if not (sizes > 0).any() or sizes.max() < _UNEVEN * np.median(sizes[sizes > 0]):
        return None
    # A channel of zeros in calibration may hold anything later: it keeps the factor of the largest.
    sizes = np.where(sizes > 0, sizes, sizes.max())
    return np.asarray(np.ldexp(1.0, -np.ceil(np.log2(sizes)).astype(np.int64)))


def _scaled(known: TensorRange, factors: _Floats, axis: int) -> TensorRange:
    channels = known.channels[axis]
    low, high = channels.low * factors, channels.high * factors
    statistics = ChannelStatistics(low, high, channels.mean * factors)
    return TensorRange(float(low.min()), float(high.max()), channels={axis: statistics})
