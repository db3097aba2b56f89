"""Casts to the type of another tensor become casts to a type.

Exporters and functions of the standard write them for constants, too, which would stay computed
because of a tensor that lends nothing but its type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler_core.graph.dtypes import dtype_number
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class CastsByExample:
    """Replace CastLike by Cast where the type is known."""

    name: ClassVar[str] = "casts-by-example"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "CastLike") or len(node.inputs) != 2:
                continue
            source, example = node.inputs
            dtype = rewriter.dtype(example)
            if dtype is None:
                continue
            attributes = {**node.attributes, "to": dtype_number(dtype)}
            rewriter.replace(
                node, replace(node, op="Cast", inputs=(source,), attributes=attributes)
            )
        return rewriter.finish()
