"""Inputs and outputs of float16 become float32, for whoever has no such numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_FLOAT, _FLOAT16 = 1, 10


@dataclass(frozen=True)
class WidePorts:
    """Ports of float16 behind which everything is float32 are float32.

    :class:`~compiler_core.graph.passes.half_precision.HalfToFloat` leaves a Cast at each. What the
    caller feeds is not rounded to float16 any more, nor what the model gives.
    """

    name: ClassVar[str] = "wide-ports"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        work = Rewriter(graph)
        for name in graph.inputs:
            readers = work.readers(name)
            if work.dtype(name) != "float16" or work.pinned(name) or not readers:
                continue
            if not all(is_op(node, "Cast") and node.attributes["to"] == _FLOAT for node in readers):
                continue
            for node in readers:
                self._drop(work, node)
            work.types[name] = replace(work.types[name], dtype="float32")
        for name in graph.outputs:
            last = work.producer(name)
            if last is None or not is_op(last, "Cast") or last.attributes["to"] != _FLOAT16:
                continue
            if not work.readers(name) and work.dtype(last.inputs[0]) == "float32":
                self._drop(work, last)
                work.types[name] = replace(work.types[name], dtype="float32")
        return work.finish()

    @staticmethod
    def _drop(work: Rewriter, node: Node) -> None:
        work.replace(node, replace(node, op="Identity", attributes={}))
