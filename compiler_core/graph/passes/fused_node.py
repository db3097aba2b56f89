"""What a node of onnxruntime's own is written as, while it is being written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter


class Fused:
    """Collects what a node is written as."""

    def __init__(self, work: Rewriter, node: Node, dtype: np.dtype[Any]) -> None:
        self.work, self.node, self.dtype = work, node, dtype
        self._nodes: list[Node] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """An operator; the name of its result, whose type shape inference finds."""
        wanted = f"{self.node.name}/{op.lower()}{len(self._nodes)}"
        result, name = self.work.fresh(wanted), self.work.fresh_node(wanted)
        self._nodes.append(Node(name, op, inputs, (result,), attributes))
        return result

    def number(self, value: float) -> str:
        """A scalar of the type of the input."""
        name = f"{self.node.name}/number"
        return self.work.add_constant(name, np.array(value, self.dtype))

    def constant(self, what: str, array: npt.NDArray[Any]) -> str:
        """A constant of the node."""
        return self.work.add_constant(f"{self.node.name}/{what}", array)

    def held(self, position: int) -> npt.NDArray[Any] | None:
        """The constant at an input."""
        return self.work.constant(self.node, position)

    def shape(self, position: int) -> tuple[int, ...] | None:
        """The fully known shape of an input."""
        return self.work.shape(self.given(position))

    def given(self, position: int) -> str:
        """An input; empty where it is absent."""
        inputs = self.node.inputs
        return inputs[position] if position < len(inputs) else ""

    def renamed(self, old: str, new: str) -> None:
        """Gives a result the name of an output of the fused node."""
        self._nodes = [
            Node(
                node.name,
                node.op,
                tuple(new if name == old else name for name in node.inputs),
                tuple(new if name == old else name for name in node.outputs),
                node.attributes,
            )
            for node in self._nodes
        ]

    def end(self) -> None:
        """Puts what was written into the place of the node; the last result has its name."""
        self.renamed(self._nodes[-1].output, self.node.output)
        self.work.replace(self.node, *self._nodes)
