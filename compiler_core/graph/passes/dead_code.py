"""Nodes and constants that no output needs are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler_core.graph.extract import cut
from compiler_core.graph.ir import Graph


@dataclass(frozen=True)
class DeadCode:
    """Keep what the graph's outputs need; graph inputs stay even where nobody reads them."""

    name: ClassVar[str] = "dead-code"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        alive = cut(graph)
        same = len(alive.nodes) == len(graph.nodes) and len(alive.constants) == len(graph.constants)
        return graph if same else alive
