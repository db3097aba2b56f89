"""Copies of tensors that operators of many multiplications need in another order of memory.

A tensor lies in one order: an image has its channels first, what a dense layer reads has its
features there. One that is read as both (a linear layer over the columns of an image, a convolution
beside a shuffle of the same pixels) would leave the second reader to the CPU with all its
multiplications. An Identity in front of it is a view, which the CPU moves instead.
"""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter
from compiler_core.quantize.assemble import misplaced

_HEAVY = ("Conv", "Dense", "Gemm", "MatMul")
_MOST_ROUNDS = 8
"""A copy lets its reader run on the NPU, whose result then lies in some order, too."""


def with_copies(graph: Graph) -> Graph:
    """The graph with an Identity in front of what would otherwise keep an operator of many
    multiplications on the CPU.

    Args:
        graph: Simplified.
    """
    if not any(node.op in _HEAVY for node in graph.nodes):
        return graph
    copied = set[str]()
    for _ in range(_MOST_ROUNDS):
        found = misplaced(graph)
        nodes = [n for n in graph.nodes if n.op in _HEAVY and found.get(n.name, "") not in copied]
        wanting = {node.name: found[node.name] for node in nodes if node.name in found}
        if not wanting:
            break
        rewriter = Rewriter(graph)
        for node in nodes:
            if node.name in wanting:
                copied.add(_copy(rewriter, node, wanting[node.name]))
        graph = rewriter.finish()
    return graph


def _copy(rewriter: Rewriter, node: Node, tensor: str) -> str:
    """Lets the node read a copy, whose name is returned."""
    shape = tuple(size or 1 for size in rewriter.types[tensor].shape or ())
    name = rewriter.add_tensor(f"{tensor}/copy", shape, tensor)
    if tensor in rewriter.kept:
        rewriter.kept[name] = rewriter.kept[tensor]
    copy = Node(rewriter.fresh_node(f"{node.name}/copy"), "Identity", (tensor,), (name,), {})
    own = rewriter.substitute(node, tensor, name)
    rewriter.replace(own, copy, own)
    return name
