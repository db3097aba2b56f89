"""Where the CPU had better work on integers when nobody has searched: between operators of the unit
that are on integers anyway.

A group stays if all that it reads is written in integers, and if what it writes becomes integers in
any case: the other unit reads it, and beside that unit groups on integers alone, or groups that
only hand it on. Then integers replace little but what quantizing and dequantizing would have made
of the same numbers. A group that moves what a single tensor holds, and writes no more than that,
stays for any reader: integers are moved for less than real numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property
from math import prod

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import looks
from compiler_core.quantize.host_groups import HostGroups
from compiler_core.quantize.ir import HostGroup


class IntegersBeside:
    """Groups and their neighbours.

    Args:
        graph: Simplified.
        found: Its groups.
    """

    def __init__(self, graph: Graph, found: HostGroups) -> None:
        self._found, self._types = found, graph.types
        self._writer: dict[str, Node] = {}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if looks(node) and found.bases.get(node.output) != node.output:
                continue
            for name in filter(None, node.outputs):
                self._writer[name] = node
            for name in reads(node):
                self._readers.setdefault(found.bases.get(name, name), []).append(node)

    @cached_property
    def all(self) -> frozenset[str]:
        """Nodes of all groups."""
        return frozenset(self._found.of_node)

    def kept(self, integers: frozenset[str], on_cpu: Collection[str]) -> frozenset[str]:
        """Those of the nodes ``integers`` that stay.

        Args:
            integers: Nodes that are on integers so far, of whole groups.
            on_cpu: Nodes that the other unit does not run, those included.
        """
        kept = integers
        while True:
            leaving = {
                name
                for group in self._found.groups
                if group.name in kept and not self._stays(group, kept, on_cpu)
                for name in group.nodes
            }
            if not leaving:
                return kept
            kept -= leaving

    def _stays(self, group: HostGroup, integers: Collection[str], on_cpu: Collection[str]) -> bool:
        for name in group.inputs:
            writer = self._writer.get(self._found.bases.get(name, name))
            if writer is None or (writer.name in on_cpu and writer.name not in integers):
                return False
        if (
            group.moves
            and len(group.inputs) == 1
            and self._size(group.outputs) <= self._size(group.inputs)
        ):
            return True
        for name in group.outputs:
            names = [reader.name for reader in self._readers.get(name, ())]
            on_host = [reader for reader in names if reader in on_cpu]
            quantized = len(on_host) < len(names)
            for reader in on_host:
                hands_on = reader in integers and self._found.of_node[reader].moves
                if not hands_on and not (quantized and reader in integers):
                    return False
        return True

    def _size(self, names: Iterable[str]) -> int:
        shapes = (self._types[name].shape or () for name in names)
        return sum(prod(size or 1 for size in shape) for shape in shapes)
