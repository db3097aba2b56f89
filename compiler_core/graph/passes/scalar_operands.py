"""Constants of one element where an operator takes a scalar.

Runtimes take a vector of one element there as long as its type is open, which it no longer is when
branches are written out and constants folded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class ScalarOperands:
    """Give Range its constants as scalars."""

    name: ClassVar[str] = "scalar-operands"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "Range"):
                continue
            changed = node
            for position, name in enumerate(node.inputs):
                value = rewriter.constant(node, position)
                if value is not None and value.ndim and value.size == 1:
                    scalar = rewriter.add_constant(f"{name}/scalar", value.reshape(()))
                    changed = rewriter.substitute(changed, name, scalar)
        return rewriter.finish()
