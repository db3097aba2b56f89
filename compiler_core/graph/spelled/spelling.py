"""What spells a node out: writes operators in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter


class Spelling:
    """Writes what a node becomes.

    Args:
        work: The graph.
        node: Of it.
        shape: Of its first input.
    """

    def __init__(self, work: Rewriter, node: Node, shape: tuple[int, ...]) -> None:
        self.work, self.node, self.shape = work, node, shape
        self.opset = work.graph.opsets.get("", 0)
        self._nodes: list[Node] = []

    def add(
        self,
        op: str,
        inputs: list[str],
        shape: tuple[int, ...],
        *,
        dtype: str | None = None,
        **attributes: Any,
    ) -> str:
        """An operator; the name of its result, of the type of the node's first input where none is
        given."""
        result = self.add_of("", op, inputs, shape, attributes)
        if dtype is not None:
            self.work.types[result] = replace(self.work.types[result], dtype=dtype)
        return result

    def shaped(self, x: str, shape: tuple[int, ...]) -> str:
        """The same elements in another shape."""
        dtype = self.work.dtype(x)
        sizes = self.constant("shape", np.array(shape, np.int64))
        return self.add("Reshape", [x, sizes], shape, dtype=dtype)

    def turned(self, x: str, shape: tuple[int, ...], order: tuple[int, ...]) -> str:
        """The same elements, of ``shape``, with other axes first."""
        return self.add("Transpose", [x], tuple(shape[a] for a in order), perm=order)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        return self.node.text(name, default)

    def given(self, place: int) -> bool:
        """Whether the node has such an input."""
        return place < len(self.node.inputs) and bool(self.node.inputs[place])

    def add_of(
        self,
        domain: str,
        op: str,
        inputs: list[str],
        shape: tuple[int, ...],
        attributes: dict[str, Any],
    ) -> str:
        """An operator of a domain; the name of its result."""
        base = f"{self.node.name}/{op.lower()}{len(self._nodes)}"
        result = self.work.add_tensor(base, shape, self.node.inputs[0])
        name = self.work.fresh_node(base)
        self._nodes.append(Node(name, op, tuple(inputs), (result,), attributes, domain))
        return result

    def gives_first(self, tensor: str) -> None:
        """Puts an output before the one of what was written last."""
        last = self._nodes.pop()
        self._nodes.append(replace(last, outputs=(tensor, *last.outputs)))

    def constant(self, what: str, array: Any) -> str:
        """A constant."""
        return self.work.add_constant(f"{self.node.name}/{what}", np.asarray(array))

    def end(self) -> bool:
        """Puts what was written into the place of the node; the last result has its name."""
        last = self._nodes.pop()
        outputs, clip = self.node.outputs, self.node.clip
        found = self.work.types[last.output].shape
        self.work.types[outputs[0]] = replace(self.work.types[outputs[0]], shape=found)
        self._nodes.append(replace(last, outputs=outputs, clip=clip))
        self.work.replace(self.node, *self._nodes)
        return True

    def end_as(self, names: Mapping[str, str]) -> bool:
        """Puts what was written into the place of the node; results have the names of its own.

        Args:
            names: Name of an output of the node by the result that it is.
        """

        def own(tensors: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(tensor, tensor) for tensor in tensors)

        nodes = (replace(n, inputs=own(n.inputs), outputs=own(n.outputs)) for n in self._nodes)
        self.work.replace(self.node, *nodes)
        return True
