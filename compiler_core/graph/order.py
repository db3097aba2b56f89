"""Stable topological order of nodes, and the tensors that nobody defines."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

from compiler_core.errors import InputError
from compiler_core.graph.attributes import implicit_inputs
from compiler_core.graph.ir import Node


def reads(node: Node) -> frozenset[str]:
    """Every tensor that ``node`` needs, those of its subgraphs included."""
    return (frozenset(node.inputs) | implicit_inputs(node)) - {""}


def sort_nodes(nodes: Sequence[Node], defined: Collection[str]) -> tuple[Node, ...]:
    """Sort topologically; among ready nodes the earliest of ``nodes`` goes first.

    Args:
        nodes: In any order.
        defined: Graph inputs and constants.

    Raises:
        InputError: A tensor has no source or two, or the nodes form a cycle.
    """
    source: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for output in filter(None, node.outputs):
            if output in source or output in defined:
                raise InputError(
                    f"tensor {output!r} is defined twice, the second time by node {node.name!r}"
                )
            source[output] = position
    followers: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    for position, node in enumerate(nodes):
        for tensor in sorted(reads(node)):
            if tensor in source:
                followers[source[tensor]].append(position)
                waiting[position] += 1
            elif tensor not in defined:
                raise InputError(
                    f"node {node.name!r} ({node.op}) reads tensor {tensor!r}, which is neither a "
                    "graph input, nor an initializer, nor the output of a node"
                )
    ready = [position for position, count in enumerate(waiting) if count == 0]
    order: list[Node] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(nodes[position])
        for follower in followers[position]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(nodes):
        stuck = _on_cycle(nodes, source, {p for p, count in enumerate(waiting) if count > 0})
        raise InputError(
            f"the graph is cyclic: node {stuck.name!r} ({stuck.op}) needs its own result"
        )
    return tuple(order)


def _on_cycle(nodes: Sequence[Node], source: dict[str, int], waiting: set[int]) -> Node:
    """A node of a cycle: waiting nodes have waiting sources, so walking upwards ends in one."""
    position, seen = min(waiting), set[int]()
    while position not in seen:
        seen.add(position)
        sources = {source[tensor] for tensor in reads(nodes[position]) if tensor in source}
        position = min(sources & waiting)
    return nodes[position]
