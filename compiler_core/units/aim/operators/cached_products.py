"""Attention of few tokens over a key-value cache: products whose matrix is a state of the model.

The model takes the cache as it was, writes the rows of new tokens and hands it out again:

- ``ScatterElements`` or ``ScatterND`` puts them where an index says, so that nothing else moves;
- ``Concat`` behind a ``Slice`` lets a window slide: the oldest rows go.

Heads of queries may share a head of the cache, which is then repeated for them.

The cache is one that stays in the banks if nobody else reads it: an input of the model, an output
of the same shape, and between them only what updates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.operators.caches import (
    Sizes,
    Update,
    axis_of,
    cache_workload,
    multiplies,
    places_fit,
)
from compiler_core.units.aim.schedule.workload import MatrixVector


@dataclass(frozen=True)
class CachedProduct:
    """A product with a cache.

    Attributes:
        nodes: What updates the cache, transposes it and multiplies with it, in order.
        vectors, past, new, places: What they read: rows that are multiplied, the cache as it was,
            rows that it gains, and where they go (empty for a window).
        present, output: What they write.
        update: How rows come in.
        axis: Of the cache along which its rows lie.
        order: Of its axes, as it is multiplied.
    """

    nodes: tuple[Node, ...]
    vectors: str
    past: str
    new: str
    places: str
    present: str
    output: str
    update: Update
    axis: int
    order: tuple[int, ...]

    @property
    def product(self) -> Node:
        """The node that multiplies."""
        return self.nodes[-1]


def cached_products(graph: Graph) -> Mapping[str, CachedProduct]:
    """Products of a model with caches, by name of every node that belongs to one."""
    key = (__name__, "cached")
    found: Mapping[str, CachedProduct] | None = graph.derived.get(key)
    if found is None:
        every = (_cached(graph, node) for node in graph.nodes if node.op == "MatMul")
        found = {node.name: own for own in every if own is not None for node in own.nodes}
        graph.derived[key] = found
    return found


def workload_of(graph: Graph, cached: CachedProduct) -> MatrixVector:
    """What one computes."""
    cache = _shape(graph, cached.past)
    rows = _shape(graph, cached.new)[cached.axis]
    sizes = _shape(graph, cached.vectors)
    return cache_workload(sizes, cache, rows, cached.axis, cached.order, cached.update)


@dataclass(frozen=True)
class _Updated:
    """A cache that nodes update: what they read, and how."""

    update: Update
    past: str
    new: str
    places: str
    nodes: tuple[Node, ...]


def _cached(graph: Graph, node: Node) -> CachedProduct | None:
    """The product with a cache that a node is; ``None`` where it is none."""
    vectors, matrix = node.inputs
    if node.clip is not None or vectors in graph.constants:
        return None
    turn, present = graph.producer(matrix), matrix
    nodes: tuple[Node, ...] = (node,)
    if turn is not None and turn.op == "Transpose" and turn.clip is None:
        if not _is_inner(graph, matrix):
            return None
        present, nodes = turn.inputs[0], (turn, node)
    repeated = _repeated(graph, present)
    if repeated:
        present = repeated[0].inputs[0]
    if present not in graph.outputs or len(graph.consumers(present)) != 1:
        return None
    found = _scattered(graph, present) or _slid(graph, present)
    if found is None or vectors in (found.past, present):
        return None
    past, new = _shape(graph, found.past), _shape(graph, found.new)
    axis = axis_of(past, new)
    order = tuple(range(len(past)))
    if len(nodes) > 1:
        order = tuple(nodes[0].attributes.get("perm") or reversed(order))
    if not _has_heads(graph, vectors, matrix, past, order if repeated else ()):
        return None
    floats = all(
        _dtype(graph, name) == "float32" for name in (vectors, found.past, present, found.new)
    )
    if axis is None or not floats or _shape(graph, present) != past:
        return None
    if not multiplies(_shape(graph, vectors), past, order, axis):
        return None
    return CachedProduct(
        (*found.nodes, *repeated, *nodes),
        vectors,
        found.past,
        found.new,
        found.places,
        present,
        node.output,
        found.update,
        axis,
        order,
    )


def _repeated(graph: Graph, tensor: str) -> tuple[Node, ...]:
    """The nodes that repeat each head of a cache for queries that share it, in order; none where
    nothing does: an axis of its own, expanded, becomes one with that of the heads."""
    joined = graph.producer(tensor)
    spread = graph.producer(joined.inputs[0]) if joined is not None and joined.inputs else None
    apart = graph.producer(spread.inputs[0]) if spread is not None and spread.inputs else None
    if joined is None or spread is None or apart is None or spread.op != "Expand":
        return ()
    views = ("Reshape", "Unsqueeze")
    if apart.op not in views or joined.op != "Reshape" or not _is_inner(graph, tensor):
        return ()
    inner = all(_is_inner(graph, own.output) and own.clip is None for own in (apart, spread))
    cache, one, many, whole = (
        _shape(graph, name) for name in (apart.inputs[0], apart.output, spread.output, tensor)
    )
    for at in range(1, len(cache)):
        before, after = cache[:at], cache[at:]
        if one == (*before, 1, *after) and len(many) == len(one) and inner:
            count = many[at]
            joint = (*before[:-1], before[-1] * count, *after)
            if many == (*before, count, *after) and whole == joint and joined.clip is None:
                return apart, spread, joined
    return ()


def _has_heads(
    graph: Graph, vectors: str, matrix: str, past: Sizes, repeated: tuple[int, ...]
) -> bool:
    """Whether a matrix has a head for each head of queries, or one for all; of a cache whose heads
    are ``repeated``, as it is multiplied in that order, those are the third axis from the end."""
    sizes, own = _shape(graph, vectors), _shape(graph, matrix)
    if len(sizes) != len(own) or len(own) != len(past):
        return False
    if len(own) < 3:
        return not repeated
    if own[:-3] != sizes[:-3] or own[-3] not in (sizes[-3], 1):
        return False
    turned = [past[at] for at in repeated]
    others = [at for at in range(len(turned)) if at != len(turned) - 3]
    return all(turned[at] == own[at] for at in others)


def _scattered(graph: Graph, present: str) -> _Updated | None:
    """A cache whose new rows go where an index says."""
    node = graph.producer(present)
    if node is None or node.op not in ("ScatterElements", "ScatterND") or node.clip is not None:
        return None
    past, places, new = node.inputs[:3]
    if node.text("reduction", "none") != "none" or not _is_fed(graph, past):
        return None
    if past in (places, new) or places in graph.constants or new in graph.constants:
        return None
    sizes = [_shape(graph, name) for name in (places, past, new)]
    axis = axis_of(sizes[1], sizes[2])
    if axis is None or _dtype(graph, places) not in ("int64", "int32"):
        return None
    update = Update.ND
    if node.op == "ScatterElements":
        update = Update.ELEMENTS
        if int(node.attributes.get("axis", 0)) % len(sizes[1]) != axis:
            return None
    if not places_fit(update, *sizes):
        return None
    return _Updated(update, past, new, places, (node,))


def _slid(graph: Graph, present: str) -> _Updated | None:
    """A cache that loses its oldest rows for new ones."""
    node = graph.producer(present)
    if node is None or node.op != "Concat" or node.clip is not None or len(node.inputs) != 2:
        return None
    kept, new = node.inputs
    cut = graph.producer(kept)
    if cut is None or cut.op != "Slice" or cut.clip is not None or not _is_inner(graph, kept):
        return None
    past = cut.inputs[0]
    if not _is_fed(graph, past) or past == new or new in graph.constants:
        return None
    axis = axis_of(_shape(graph, past), _shape(graph, new))
    if axis is None or int(node.attributes.get("axis", 0)) % len(_shape(graph, past)) != axis:
        return None
    if not _drops(graph, cut, axis, _shape(graph, new)[axis]):
        return None
    return _Updated(Update.WINDOW, past, new, "", (cut, node))


def _is_fed(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is an input of the model that one node alone reads."""
    is_input = tensor in graph.inputs and tensor not in graph.outputs
    return is_input and len(graph.consumers(tensor)) == 1


def _is_inner(graph: Graph, tensor: str) -> bool:
    """Whether one node alone reads a tensor."""
    return tensor not in graph.outputs and len(graph.consumers(tensor)) == 1


def _drops(graph: Graph, cut: Node, axis: int, rows: int) -> bool:
    """Whether a slice keeps all rows along an axis but the first."""
    values = []
    for name in (*cut.inputs[1:], "", "", "")[:4]:
        constant = graph.constants.get(name) if name else None
        if name and constant is None:
            return False
        values.append([] if constant is None else [int(v) for v in constant.reshape(-1)])
    starts, ends, axes, steps = values
    size = _shape(graph, cut.inputs[0])
    axes = [at % len(size) for at in axes] or list(range(len(starts)))
    if axes != [axis] or steps not in ([], [1]) or len(starts) != 1 or len(ends) != 1:
        return False
    begin = starts[0] + size[axis] if starts[0] < 0 else starts[0]
    return begin == rows and ends[0] >= size[axis]


def _shape(graph: Graph, tensor: str) -> Sizes:
    """Sizes of a tensor; none where one is not known."""
    known = graph.types.get(tensor)
    if known is None or known.shape is None or None in known.shape:
        return ()
    return tuple(int(size or 0) for size in known.shape)


def _dtype(graph: Graph, tensor: str) -> str:
    known = graph.types.get(tensor)
    return "" if known is None else known.dtype
