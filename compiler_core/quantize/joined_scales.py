"""Scales that tensors share because a concatenation copies their integers instead of rescaling
them: what it reads is in the scale of what it writes.

Nothing is lost where nobody else reads such a tensor, for its values end in that scale anyway. The
scale spreads through operators that only move values or clamp them, and through concatenations that
follow one another: all tensors of such a class have one scale, which holds what every concatenation
of the class writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.affine import AffineType, activation_integers
from compiler_core.quantize.precisions import CLAMPS, SAME_VALUES, Precision, Static
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.quantize.statistics import TensorRange

Key = tuple[str, str]
"""A tensor and the type of its integers."""


def joined_integers(
    graph: Graph,
    precisions: Mapping[str, Precision],
    ranges: Mapping[str, TensorRange],
    method: RangeMethod,
) -> dict[Key, AffineType]:
    """Integers of the tensors that share a scale with others.

    Args:
        graph: Simplified, or a part of such a graph.
        precisions: Format by node.
        ranges: Statistics of float tensors.
        method: How ranges of activations follow from them.
    """
    parents: dict[Key, Key] = {}
    joins: list[Key] = []
    clamps: list[Key] = []
    for node in graph.nodes:
        own = precisions.get(node.name)
        if isinstance(own, Static):
            first, *others = ((name, own.activations) for name in _alike(node, own))
            for other in others:
                _unite(parents, first, other)
            if own.joined:
                joins.append(first)
            if others and (node.clip is not None or node.op in CLAMPS):
                clamps.append(first)
    types: dict[Key, AffineType] = {}

    def hold(key: Key) -> None:
        root, own_type = _root(parents, key), activation_integers(ranges[key[0]], key[1], method)
        known = types.get(root, own_type)
        types[root] = own_type if known == own_type else _holding_both(known, own_type)

    for key in joins:
        hold(key)
    clamped = {_root(parents, key) for key in clamps}
    for key in (key for key in parents if key[0] in ranges):
        # What a clamp takes from values, others that read them before still need.
        if _root(parents, key) in clamped and _is_read_apart(graph, precisions, key):
            hold(key)
    return {key: types[root] for key in parents if (root := _root(parents, key)) in types}


def _is_read_apart(graph: Graph, precisions: Mapping[str, Precision], key: Key) -> bool:
    """Whether a tensor is read by what does not pass its integers on."""
    if key[0] in graph.outputs:
        return True
    for reader in graph.consumers(key[0]):
        own = precisions.get(reader.name)
        if not isinstance(own, Static) or own.activations != key[1]:
            return True
        if key[0] not in _alike(reader, own):
            return True
    return False


def _holding_both(one: AffineType, other: AffineType) -> AffineType:
    """Integers that hold what each of two can."""
    ends = [own.scale * limit for own in (one, other) for limit in own.limits]
    return activation_integers(TensorRange(min(ends), max(ends)), one.dtype, RangeMethod.MAX)


def _alike(node: Node, own: Static) -> Iterator[str]:
    """Tensors that a node leaves in one scale, what it writes first."""
    yield node.output
    if node.op in SAME_VALUES:
        yield from filter(None, (*node.outputs[1:], node.inputs[0]))
    elif own.joined:
        yield from filter(None, node.inputs)
    elif node.op in CLAMPS:
        yield node.inputs[0]


def _root(parents: Mapping[Key, Key], key: Key) -> Key:
    while parents.get(key, key) != key:
        key = parents[key]
    return key


def _unite(parents: dict[Key, Key], one: Key, other: Key) -> None:
    parents.setdefault(one, one)
    parents.setdefault(other, other)
    parents[_root(parents, other)] = _root(parents, one)
