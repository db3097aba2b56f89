"""Where steps stand in the model: of steps that wait for a unit with equal priority, the one that
stands first goes first.

Plans and packages list the same steps in different orders, so a position in either list decides
nothing: the order of the graph's tensors does, which both know.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS


class Positions:
    """Numbers of a graph's tensors, in the order in which they are there.

    Args:
        graph: Simplified.
    """

    def __init__(self, graph: Graph) -> None:
        names = dict.fromkeys(graph.inputs)
        for node in graph.nodes:
            names |= dict.fromkeys(node.outputs)
        self._tensors = {name: number for number, name in enumerate(names)}
        self._nodes = {node.name: self._tensors[node.output] for node in graph.nodes}
        # A border converts values, in whatever shape they are looked at.
        self._values = dict(self._tensors)
        for node in graph.nodes:
            if node.op in VIEW_OPERATORS and node.clip is None:
                source = self._values.get(node.inputs[0])
                if source is not None:
                    self._values[node.output] = source

    def of_node(self, name: str) -> int:
        """Position of a node on the CPU; what the graph does not have comes last."""
        return self._nodes.get(name, len(self._tensors))

    def of_values(self, tensor: str) -> int:
        """Position of a conversion at a border; views of a tensor stand where it does."""
        return self._values.get(tensor, len(self._tensors))

    def of_launch(self, output: str, sources: Sequence[str]) -> int:
        """Position of a launch.

        Args:
            output: Tensor that it writes.
            sources: Nodes that it stands for; a copy for a concatenation stands for none and is
                named after what it is concatenated to.
        """
        if sources:
            return self.of_node(sources[-1])
        return self._tensors.get(output.rsplit("/", 1)[0], len(self._tensors))
