"""How many bytes one execution of a graph holds at once, from shapes alone."""

from __future__ import annotations

from compiler_core.graph.attributes import implicit_inputs
from compiler_core.graph.ir import Graph
from compiler_core.graph.work import tensor_bytes


def held_bytes(graph: Graph) -> tuple[int, str]:
    """The most that computed tensors take together, each from its node to its last reader.

    Args:
        graph: In an order that it can be executed in; tensors of unknown shape count as nothing,
            and so do constants, which the file itself holds.

    Returns:
        Bytes, and the name of the node whose results make them the most (empty without nodes).
    """
    last = _last_readers(graph)
    sizes = {name: tensor_bytes(graph.types.get(name)) or 0 for name in graph.inputs}
    now = most = sum(sizes.values())
    where = ""
    for index, node in enumerate(graph.nodes):
        for name in filter(None, node.outputs):
            sizes[name] = tensor_bytes(graph.types.get(name)) or 0
            now += sizes[name]
        if now > most:
            most, where = now, node.name
        for name in {*node.inputs, *node.outputs, *implicit_inputs(node)}:
            if last.get(name, index) <= index:
                now -= sizes.pop(name, 0)
    return most, where


def _last_readers(graph: Graph) -> dict[str, int]:
    """Index of the last node that reads a tensor; outputs of the graph are read after all."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in (*node.inputs, *implicit_inputs(node)):
            last[name] = index
    return last | dict.fromkeys(graph.outputs, len(graph.nodes))
