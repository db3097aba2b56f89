"""Inputs in two int8 parts: what rounding takes from the first is in the second.

Eight bits are little for images of 256 values or spectra with rare peaks, and everything behind
inherits the noise of the first layer. The CPU hands over two parts, ``q = clip(round(x a))`` and
``(x a - q) k``, as channels of one tensor, and the weights of the convolution that reads it are
``[w / a, w / (a k)]``: the same sums, but the error of the input is ``k`` times smaller. The NPU
works in blocks of 16 channels, so a convolution of up to 8 channels costs it nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.border_writer import BorderWriter, Rewritten
from compiler_core.quantize.coarse import coarse
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

_BLOCK = 16
_LEVELS = 127
_FINER = 16
"""``k``: four more bits of input; as many are missing in the weights of the second part."""
_SMALLEST = 2.0**-60
"""Tensors that are smaller, or larger than its inverse, have no factor in float32 that is safe."""
_ROUND_OPSET = 11
_MAGIC = 1.5 * 2**23
"""Adding and subtracting it rounds float32 to integers, half to even, where there is no Round."""


def split_inputs(
    graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> Rewritten:
    """Split what float code hands to convolutions of up to eight channels.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor.
    """
    writer = _Splitter(graph, assignment, ranges)
    for node in graph.nodes:
        if _fits(graph, node, assignment, ranges):
            writer.split(node)
        else:
            writer.nodes.append(node)
    return writer.finish()


def _fits(
    graph: Graph, node: Node, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
) -> bool:
    if node.op != "Conv" or assignment[node.name] == CPU:
        return False
    source, weight = node.inputs[0], graph.constants.get(node.inputs[1])
    producer = graph.producer(source)
    return (
        weight is not None
        and int(node.attributes.get("group", 1)) == 1
        and 2 * weight.shape[1] <= _BLOCK
        and source in ranges
        and _SMALLEST <= ranges[source].absmax <= 1 / _SMALLEST
        and graph.types[source].dtype == "float32"
        and (producer is None or assignment[producer.name] == CPU)
    )


class _Splitter(BorderWriter):
    """The graph with some inputs split."""

    def __init__(
        self, graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
    ) -> None:
        super().__init__(graph, assignment, ranges)
        self._parts: dict[str, str] = {}

    def split(self, node: Node) -> None:
        """Add ``node`` so that it reads two parts."""
        source, weights = node.inputs[0], node.inputs[1]
        factor = np.float32(_LEVELS / coarse(self.ranges[source].absmax))
        if source not in self._parts:
            self._parts[source] = self._add_parts(source, factor)
        matrix = np.asarray(self._graph.constants[weights], np.float64) / factor
        both = np.concatenate([matrix, matrix / _FINER], axis=1).astype(np.float32)
        name = self.constant(f"{weights}/parts", both)
        self.nodes.append(replace(node, inputs=(self._parts[source], name, *node.inputs[2:])))

    def _add_parts(self, source: str, factor: np.float32) -> str:
        limits = (-_LEVELS - 1.0, float(_LEVELS))
        scaled = self.on_cpu(
            "Mul", (source, self._scalar(source, factor)), self.tensor(source, "scaled")
        )
        if self._graph.opsets.get("", _ROUND_OPSET) >= _ROUND_OPSET:
            whole = self.on_cpu("Round", (scaled,), self.tensor(source, "whole"), clip=limits)
        else:
            magic = self._scalar(source, np.float32(_MAGIC))
            # Clipped before, too: the magic number rounds nothing beyond 2**22.
            near = self.on_cpu("Clip", (scaled,), self.tensor(source, "near"), clip=limits)
            raised = self.on_cpu("Add", (near, magic), self.tensor(source, "raised"))
            whole = self.on_cpu("Sub", (raised, magic), self.tensor(source, "whole"))
        rest = self.on_cpu("Sub", (scaled, whole), self.tensor(source, "rest"))
        finer = self.on_cpu(
            "Mul", (rest, self._scalar(source, np.float32(_FINER))), self.tensor(source, "finer")
        )
        shape = self._graph.types[source].shape
        assert shape is not None  # of a convolution's input
        channels = shape[1] or 1
        parts = self.on_cpu("Concat", (whole, finer), self.tensor(source, "parts"), axis=1)
        self.reshape(parts, (shape[0], 2 * channels, *shape[2:]))
        self.ranges[parts] = self._range(self.ranges[source], float(factor))
        return parts

    def _range(self, known: TensorRange, factor: float) -> TensorRange:
        """Of both parts: the integers themselves, at exponent 0."""
        found = known.channels.get(1)
        axes = {}
        if found is not None:
            edge = np.full_like(found.low, _FINER / 2)
            axes[1] = ChannelStatistics(
                np.concatenate([found.low * factor, -edge]),
                np.concatenate([found.high * factor, edge]),
                np.concatenate([found.mean * factor, np.zeros_like(edge)]),
            )
        return TensorRange(-float(_LEVELS), float(_LEVELS), channels=axes)

    def _scalar(self, source: str, value: np.float32) -> str:
        return self.constant(f"{source}/factor", np.asarray(value))
