"""What passes share: a working copy of a graph with its indices, and the protocol of a pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.graph.attributes import freeze, implicit_inputs
from compiler_core.graph.dtypes import array_dtype_name
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.order import sort_nodes

FLOATS = ("float16", "float32", "float64")


class GraphPass(Protocol):
    """A rewriting of graphs. Implementations are frozen dataclasses; their fields are options."""

    name: ClassVar[str]

    def apply(self, graph: Graph) -> Graph:
        """The rewritten graph; ``graph`` itself where nothing changes."""


class Rewriter:
    """A mutable copy of a graph: finds producers and readers in constant time while nodes change.

    Tensors that are graph outputs or read by subgraphs are *pinned*: their names stay.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.changed = False
        self.constants = dict(graph.constants)
        self.types = dict(graph.types)
        self.kept = dict(graph.kept)
        self._dynamic = set(graph.dynamic_batch)
        self._dependent = set(graph.batch_dependent)
        self._nodes: dict[str, Node] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._producers: dict[str, str] = {}
        self._readers: dict[str, dict[str, None]] = {}
        self._pinned = set(graph.outputs)
        self._tensors = {*graph.inputs, *graph.constants}
        self._births = 0
        for place, node in enumerate(graph.nodes):
            self._insert(node, (place, 0))

    # Looking

    def nodes(self) -> Iterator[Node]:
        """The nodes as they were when iteration began, skipping those gone or replaced since."""
        for name in tuple(self._nodes):
            node = self._nodes.get(name)
            if node is not None:
                yield node

    def producer(self, tensor: str) -> Node | None:
        """The node that computes ``tensor``."""
        name = self._producers.get(tensor)
        return None if name is None else self._nodes[name]

    def readers(self, tensor: str) -> list[Node]:
        """The nodes that have ``tensor`` among their inputs, each once."""
        return [self._nodes[name] for name in self._readers.get(tensor, ())]

    def pinned(self, tensor: str) -> bool:
        """Whether ``tensor`` is a graph output or read by a subgraph."""
        return tensor in self._pinned

    def private(self, tensor: str) -> bool:
        """Whether exactly one input of one node reads ``tensor``, and nothing else does."""
        readers = self.readers(tensor)
        if len(readers) != 1 or tensor in self._pinned:
            return False
        return readers[0].inputs.count(tensor) == 1

    def constant(self, node: Node, position: int) -> npt.NDArray[Any] | None:
        """The constant at an input of ``node``; ``None`` where it is absent or computed."""
        if position >= len(node.inputs):
            return None
        return self.constants.get(node.inputs[position])

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The fully known shape of ``tensor``."""
        known = self.types.get(tensor)
        if known is None or known.shape is None:
            return None
        dims = tuple(dim for dim in known.shape if dim is not None)
        return dims if len(dims) == len(known.shape) else None

    def dtype(self, tensor: str) -> str | None:
        """Element type of ``tensor`` where known."""
        known = self.types.get(tensor)
        return None if known is None else known.dtype

    def leads_with_batch(self, tensor: str) -> bool:
        """Whether the leading axis of ``tensor`` is the dynamic batch axis."""
        return tensor in self._dynamic

    def batch_free(self, tensor: str) -> bool:
        """Whether the shape of ``tensor`` is the same for every batch size."""
        return tensor not in self._dynamic and tensor not in self._dependent

    def leading_size(self, tensor: str) -> int | None:
        """The leading axis as a Reshape names it; ``None`` where it depends on the batch
        otherwise."""
        if self.leads_with_batch(tensor):
            return 0
        shape = self.shape(tensor)
        return shape[0] if shape and self.batch_free(tensor) else None

    # Changing

    def replace(self, old: Node, *new: Node) -> None:
        """Put ``new`` in the place of ``old``."""
        place = self._places[old.name]
        self._delete(old)
        for node in new:
            self._births += 1
            self._insert(node, (place[0], self._births))
        self.changed = True

    def remove(self, node: Node) -> None:
        """Delete a node whose outputs nobody reads."""
        self._delete(node)
        self.changed = True

    def bypass(self, node: Node, source: str) -> bool:
        """Delete ``node``, whose first output equals ``source``; ``False`` if pinned names
        forbid."""
        target = node.output
        if target not in self._pinned:
            self._move_kept(target, source)
            self._delete(node)
            for reader in self.readers(target):
                self.substitute(reader, target, source)
            self.changed = True
            return True
        producer = self.producer(source)
        if producer is None or source in self._pinned or target in self._implicit():
            return False
        self._move_kept(source, target)
        self._delete(node)
        renamed = tuple(target if name == source else name for name in producer.outputs)
        for reader in self.readers(source):
            self.substitute(reader, source, target)
        self.replace(producer, replace(producer, outputs=renamed))
        return True

    def _move_kept(self, old: str, new: str) -> None:
        """What was quantized under one name is under the other, as coarse as any of both."""
        if old in self.kept:
            self.kept[new] = min(self.kept[old], self.kept.get(new, self.kept[old]))

    def substitute(self, reader: Node, old: str, new: str) -> Node:
        """Let ``reader`` read ``new`` instead of ``old``."""
        node = replace(reader, inputs=tuple(new if name == old else name for name in reader.inputs))
        place = self._places[reader.name]
        self._delete(reader)
        self._insert(node, place)
        self.changed = True
        return node

    def add_constant(self, wanted: str, array: npt.NDArray[Any]) -> str:
        """Add a constant under a free name close to ``wanted``."""
        name = self.fresh(wanted)
        self.constants[name] = freeze(np.ascontiguousarray(array).reshape(array.shape))
        self.types[name] = TensorType(array_dtype_name(array), array.shape)
        return name

    def add_tensor(self, wanted: str, shape: Sequence[int], like: str) -> str:
        """Announce a computed tensor with the element type and batch axis of ``like``."""
        name = self.fresh(wanted)
        self.types[name] = TensorType(self.types[like].dtype, tuple(shape))
        if like in self._dynamic:
            self._dynamic.add(name)
        if like in self._dependent:
            self._dependent.add(name)
        return name

    def fresh(self, wanted: str) -> str:
        """A free tensor name."""
        name, count = wanted, 1
        while name in self._tensors:
            count += 1
            name = f"{wanted}_{count}"
        self._tensors.add(name)
        return name

    def fresh_node(self, wanted: str) -> str:
        """A free node name."""
        name, count = wanted, 1
        while name in self._nodes:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def finish(self) -> Graph:
        """The new graph, sorted and without unused constants; the old one if nothing changed."""
        if not self.changed:
            return self.graph
        used = {name for node in self._nodes.values() for name in node.inputs}
        used |= self._implicit() | set(self.graph.outputs)
        constants = {name: array for name, array in self.constants.items() if name in used}
        ordered = sorted(self._nodes.values(), key=lambda node: self._places[node.name])
        nodes = sort_nodes(ordered, {*self.graph.inputs, *constants})
        alive = {*self.graph.inputs, *constants, *(name for node in nodes for name in node.outputs)}
        return replace(
            self.graph,
            nodes=nodes,
            constants=constants,
            types={name: known for name, known in self.types.items() if name in alive},
            dynamic_batch=frozenset(self._dynamic & alive),
            batch_dependent=frozenset(self._dependent & alive),
            kept={name: exponent for name, exponent in self.kept.items() if name in alive},
        )

    def _implicit(self) -> set[str]:
        return {
            name for node in self._nodes.values() if node.opaque for name in implicit_inputs(node)
        }

    def _insert(self, node: Node, place: tuple[int, int]) -> None:
        self._nodes[node.name] = node
        self._places[node.name] = place
        for output in filter(None, node.outputs):
            self._producers[output] = node.name
            self._tensors.add(output)
        for name in filter(None, node.inputs):
            self._readers.setdefault(name, {})[node.name] = None
        if node.opaque:
            self._pinned |= implicit_inputs(node)

    def _delete(self, node: Node) -> None:
        del self._nodes[node.name]
        for output in node.outputs:
            if self._producers.get(output) == node.name:
                del self._producers[output]
        for name in set(node.inputs) - {""}:
            self._readers[name].pop(node.name, None)


def is_op(node: Node | None, *ops: str) -> bool:
    """Whether ``node`` is one of these operators of the default domain."""
    return node is not None and not node.domain and node.op in ops


def merge_clips(
    first: tuple[float, float] | None, second: tuple[float, float]
) -> tuple[float, float]:
    """The clamp that equals ``first`` followed by ``second``."""
    low, high = (-math.inf, math.inf) if first is None else first
    return (min(max(low, second[0]), second[1]), min(max(high, second[0]), second[1]))
