"""Channels of very different size between dense layers: what transformers keep in their residuals.

One channel of a residual stream may be a hundred times larger than the others, and one int8 scale
for all of them loses the rest. Such a tensor stays in float on the CPU, which adds and normalizes
there, and crosses to and from dense layers channel by channel in a scale of its own: columns of the
weights that write it are divided by a power of two per channel, which the CPU multiplies by again;
:mod:`compiler_core.quantize.input_equalization` does the like for those that read it.

After: Xiao et al., SmoothQuant; Wei et al., Outlier Suppression.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.border_writer import BorderWriter, Rewritten
from compiler_core.quantize.input_equalization import (
    DENSE,
    channel_sizes,
    factors_of,
    scaled_range,
)
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU

UNEVEN = "One int8 scale for channels of very different size would lose most of them."
"""Why normalizations and sums stay on the CPU."""
_UNEVEN = 16.0
"""Only where the largest channel exceeds the median one by more than this."""
_NORMS = ("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")


def leave_uneven(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    rounded: Collection[str],
) -> dict[str, str]:
    """Unit per node, with normalizations and the sums beside them in float where the channels that
    they read or write are too uneven.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor.
        rounded: Nodes that compute in integers: others lose nothing.
    """
    staying: set[str] = set()
    open_ = [
        node for node in graph.nodes if node.op in _NORMS and _touches_uneven(graph, node, ranges)
    ]
    while open_:
        node = open_.pop()
        if node.name in staying:
            continue
        staying.add(node.name)
        makers = (graph.producer(name) for name in node.inputs)
        beside = [maker for maker in makers if maker is not None]
        beside += [reader for name in node.outputs for reader in graph.consumers(name)]
        open_ += [
            other for other in beside if other.op == "Add" and _touches_uneven(graph, other, ranges)
        ]
    staying &= {*rounded}
    return {name: CPU if name in staying else unit for name, unit in assignment.items()}


def _touches_uneven(graph: Graph, node: Node, ranges: Mapping[str, TensorRange]) -> bool:
    names = (name for name in (*node.inputs, *node.outputs) if name in ranges)
    return any(_is_uneven(graph, name, ranges) for name in names)


def _is_uneven(graph: Graph, tensor: str, ranges: Mapping[str, TensorRange]) -> bool:
    sizes = channel_sizes(graph, tensor, ranges)
    return sizes is not None and bool(sizes.max() > _UNEVEN * np.median(sizes[sizes > 0]))


def equalize_outputs(
    graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> Rewritten:
    """Insert factors where a dense layer of the NPU writes uneven channels for float code alone.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor; those of channels are needed to equalize them.
    """
    writer = BorderWriter(graph, assignment, ranges)
    for node in graph.nodes:
        if not _is_written_unevenly(graph, node, assignment, ranges):
            writer.nodes.append(node)
            continue
        result = node.output
        sizes = channel_sizes(graph, result, ranges)
        assert sizes is not None  # it is uneven
        factors = factors_of(sizes)
        back = writer.constant(f"{result}/factors", (1 / factors).astype(np.float32))
        inputs = list(node.inputs)
        for place, name in enumerate(inputs[1:], 1):
            if name:
                transposed = place == 1 and node.attributes.get("transB")
                value = np.asarray(graph.constants[name], np.float64)
                value = value * (factors[:, None] if transposed else factors)
                own = value.astype(graph.constants[name].dtype)
                inputs[place] = writer.constant(f"{name}/even", own)
        even = writer.tensor(result, "even")
        writer.nodes.append(replace(node, inputs=tuple(inputs), outputs=(even,)))
        writer.on_cpu("Mul", (even, back), result, name=f"{node.name}/restore")
        axis = len(graph.types[result].shape or ()) - 1
        writer.ranges[even] = scaled_range(ranges[result], factors, axis)
    return writer.finish()


def _is_written_unevenly(
    graph: Graph, node: Node, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> bool:
    if node.op not in DENSE or assignment[node.name] == CPU or node.clip is not None:
        return False
    readers = graph.consumers(node.output)
    weights = graph.constants.get(node.inputs[1])
    return (
        weights is not None
        and weights.ndim > 1
        and all(name in graph.constants for name in filter(None, node.inputs[2:]))
        and bool(readers)
        and node.output not in graph.outputs
        and all(assignment[reader.name] == CPU for reader in readers)
        and _is_uneven(graph, node.output, ranges)
    )
