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
import numpy.typing as npt

from compiler_core.graph.attributes import names_read
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.input_equalization import Rewritten, fresh_name
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
    writer = _Writer(graph, assignment, ranges)
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


class _Writer:
    """The graph with some inputs split."""

    def __init__(
        self, graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
    ) -> None:
        self._graph, self._ranges = graph, dict(ranges)
        self._units = dict(assignment)
        self._constants, self._types = dict(graph.constants), dict(graph.types)
        self._dynamic = set(graph.dynamic_batch)
        self._parts: dict[str, str] = {}
        self.nodes: list[Node] = []

    def split(self, node: Node) -> None:
        """Add ``node`` so that it reads two parts."""
        source, weights = node.inputs[0], node.inputs[1]
        factor = np.float32(_LEVELS / self._ranges[source].absmax)
        if source not in self._parts:
            self._parts[source] = self._add_parts(source, factor)
        matrix = np.asarray(self._graph.constants[weights], np.float64) / factor
        both = np.concatenate([matrix, matrix / _FINER], axis=1).astype(np.float32)
        name = self._constant(f"{weights}/parts", both)
        self.nodes.append(replace(node, inputs=(self._parts[source], name, *node.inputs[2:])))

    def _add_parts(self, source: str, factor: np.float32) -> str:
        limits = (-_LEVELS - 1.0, float(_LEVELS))
        scaled = self._node("Mul", (source, self._scalar(source, factor)), source, "scaled")
        if self._graph.opsets.get("", _ROUND_OPSET) >= _ROUND_OPSET:
            whole = self._node("Round", (scaled,), source, "whole", clip=limits)
        else:
            magic = self._scalar(source, np.float32(_MAGIC))
            # Clipped before, too: the magic number rounds nothing beyond 2**22.
            near = self._node("Clip", (scaled,), source, "near", clip=limits)
            raised = self._node("Add", (near, magic), source, "raised")
            whole = self._node("Sub", (raised, magic), source, "whole")
        rest = self._node("Sub", (scaled, whole), source, "rest")
        finer = self._node("Mul", (rest, self._scalar(source, np.float32(_FINER))), source, "finer")
        shape = self._graph.types[source].shape
        assert shape is not None  # of a convolution's input
        channels = shape[1] or 1
        parts = self._node("Concat", (whole, finer), source, "parts", axis=1)
        self._types[parts] = TensorType("float32", (shape[0], 2 * channels, *shape[2:]))
        self._ranges[parts] = self._range(self._ranges[source], float(factor))
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

    def _node(
        self,
        op: str,
        inputs: tuple[str, ...],
        source: str,
        kind: str,
        *,
        clip: tuple[float, float] | None = None,
        **attributes: object,
    ) -> str:
        output = fresh_name(f"{source}/{kind}", self._types)
        self._types[output] = self._graph.types[source]
        if source in self._dynamic:
            self._dynamic.add(output)
        self.nodes.append(Node(output, op, inputs, (output,), attributes, clip=clip))
        self._units[output] = CPU
        return output

    def _scalar(self, source: str, value: np.float32) -> str:
        return self._constant(f"{source}/factor", np.asarray(value))

    def _constant(self, base: str, value: npt.NDArray[np.float32]) -> str:
        name = fresh_name(base, self._types)
        self._constants[name] = value
        self._types[name] = TensorType("float32", value.shape)
        return name

    def finish(self) -> Rewritten:
        """The result; the very same graph where nothing was split."""
        if not self._parts:
            return Rewritten(self._graph, self._units, self._ranges)
        used = names_read(self.nodes, self._graph.outputs)
        changed = replace(
            self._graph,
            nodes=tuple(self.nodes),
            constants={name: value for name, value in self._constants.items() if name in used},
            types=self._types,
            dynamic_batch=frozenset(self._dynamic),
        )
        return Rewritten(changed, self._units, self._ranges)
