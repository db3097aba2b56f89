"""Graphs changed where float code and a unit meet: the same function, with other numbers handed on.

Factors on the CPU and weights that undo them, inputs in parts: each transformation walks the graph
once, adds the nodes that stay as they are and writes the others anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from compiler_core.graph.attributes import names_read
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU


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


def fresh_name(name: str, taken: Mapping[str, object]) -> str:
    """``name``, made longer until it is not ``taken``."""
    while name in taken:
        name += "_"
    return name


class BorderWriter:
    """Writes the changed graph.

    Args:
        graph: The float graph.
        assignment: Unit per node.
        ranges: Statistics per tensor.

    Attributes:
        nodes: Those written so far, in order.
        ranges: With those of new tensors, which whoever adds one knows.
    """

    def __init__(
        self, graph: Graph, assignment: Mapping[str, str], ranges: Mapping[str, TensorRange]
    ) -> None:
        self.nodes: list[Node] = []
        self.ranges = dict(ranges)
        self._graph, self._units = graph, dict(assignment)
        self._constants, self._types = dict(graph.constants), dict(graph.types)
        self._dynamic = set(graph.dynamic_batch)

    def tensor(self, source: str, kind: str) -> str:
        """A new tensor of the type of another; its name."""
        name = fresh_name(f"{source}/{kind}", self._types)
        self._types[name] = self._types[source]
        if source in self._dynamic:
            self._dynamic.add(name)
        return name

    def reshape(self, tensor: str, shape: tuple[int | None, ...]) -> None:
        """Gives a new tensor another shape."""
        self._types[tensor] = replace(self._types[tensor], shape=shape)

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A new constant; its name."""
        name = fresh_name(name, self._types)
        self._constants[name] = value
        self._types[name] = TensorType(str(value.dtype), value.shape)
        return name

    def on_cpu(
        self,
        op: str,
        inputs: tuple[str, ...],
        output: str,
        *,
        name: str = "",
        clip: tuple[float, float] | None = None,
        **attributes: object,
    ) -> str:
        """Adds a node of the CPU, by default called like its output; returns the output."""
        node = Node(name or output, op, inputs, (output,), attributes, clip=clip)
        self.nodes.append(node)
        self._units[node.name] = CPU
        return output

    def finish(self) -> Rewritten:
        """The result; the very same graph where nothing was added to it."""
        if len(self._constants) == len(self._graph.constants):
            return Rewritten(self._graph, self._units, self.ranges)
        used = names_read(self.nodes, self._graph.outputs)
        changed = replace(
            self._graph,
            nodes=tuple(self.nodes),
            constants={name: value for name, value in self._constants.items() if name in used},
            types=self._types,
            dynamic_batch=frozenset(self._dynamic),
        )
        return Rewritten(changed, self._units, self.ranges)
