"""What a node has to do, whoever runs it: multiply-accumulates, other operations, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.scans import scan_body
from compiler_core.graph.windows import window_of

VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"))
"""Operators that move nothing."""

POOLS = frozenset(("MaxPool", "AveragePool"))


LOOKUPS = frozenset(("Gather", "GatherElements", "GatherND", "Slice"))
"""Operators that read no more of their first input than they write."""


def element_operations(graph: Graph, node: Node) -> int:
    """Element operations of a node beside its multiply-accumulates; a fused clamp is free."""
    if node.op in VIEWS:
        return 0
    results = sum(_elements(graph, name) for name in node.outputs)
    if node.op in POOLS:
        window = window_of(graph, node)
        return results * (prod(window.kernel) if window else 1)
    if node.op == "LRN":
        return results * int(node.attributes.get("size", 1))
    if float_macs(graph, node):
        return results
    read = node.inputs[1:] if node.op in LOOKUPS else node.inputs
    return max(results, *(_elements(graph, name) for name in read), 0)


def node_bytes(graph: Graph, node: Node) -> int:
    """Bytes that a node reads and writes: activations, weights and results once each; of what it
    looks up elements in, those."""
    if node.op in VIEWS:
        return 0
    if node.op in LOOKUPS:
        others = dict.fromkeys(filter(None, node.inputs[1:]))
        rest = sum(_elements(graph, name) * _width(graph, name) for name in others)
        return rest + 2 * _elements(graph, node.output) * _width(graph, node.output)
    names = (*dict.fromkeys(node.inputs), *node.outputs)
    return sum(_elements(graph, name) * _width(graph, name) for name in names if name)


def weight_bytes(graph: Graph, node: Node) -> int:
    """Bytes of a node's constants."""
    return sum(
        _elements(graph, name) * _width(graph, name)
        for name in dict.fromkeys(node.inputs)
        if name in graph.constants
    )


def float_macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of a node; 0 for operators that sum no products."""
    count = _MACS.get(node.op)
    return count(graph, node) if count is not None else 0


def _scan(graph: Graph, node: Node) -> int:
    """All that it runs, as often as it runs it."""
    body = scan_body(graph, node)
    if body is None:
        return 0
    return body.times * sum(float_macs(body.graph, inner) for inner in body.graph.nodes)


def _convolution(graph: Graph, node: Node) -> int:
    weight = _shape(graph, node.inputs[_WEIGHT_INPUT.get(node.op, 1)])
    return _elements(graph, node.output) * prod(weight[1:]) if len(weight) > 1 else 0


def _transposed_convolution(graph: Graph, node: Node) -> int:
    weight = _shape(graph, node.inputs[1])
    return _elements(graph, node.inputs[0]) * prod(weight[1:]) if len(weight) > 1 else 0


def _product(graph: Graph, node: Node) -> int:
    left = _shape(graph, node.inputs[0])
    transposed = node.op == "Gemm" and node.attributes.get("transA")
    return _elements(graph, node.output) * (left[0] if transposed else left[-1]) if left else 0


def _recurrence(graph: Graph, node: Node) -> int:
    """Each step of a sequence multiplies by all input and all recurrent weights once."""
    source = _shape(graph, node.inputs[0])
    weights = sum(_elements(graph, name) for name in node.inputs[1:3])
    return prod(source[:2]) * weights if len(source) == 3 else 0


def _einsum(graph: Graph, node: Node) -> int:
    """A product of all operands at every point of all their indices."""
    terms = node.text("equation", "").replace(" ", "").split("->")[0].split(",")
    shapes = [_shape(graph, name) for name in node.inputs]
    if len(terms) < 2 or len(terms) != len(shapes):
        return 0
    extents: dict[str, int] = {}
    broadcast: tuple[int, ...] = ()
    for term, shape in zip(terms, shapes, strict=True):
        before, dots, after = term.partition("...")
        if len(shape) < len(before) + len(after) or not (dots or len(shape) == len(term)):
            return 0
        middle = shape[len(before) : len(shape) - len(after)]
        broadcast = max(broadcast, middle, key=prod) if dots else broadcast
        for letter, size in zip(before, shape, strict=False):
            extents[letter] = max(size, extents.get(letter, 1))
        for letter, size in zip(after, shape[len(shape) - len(after) :], strict=True):
            extents[letter] = max(size, extents.get(letter, 1))
    return (len(terms) - 1) * prod(extents.values()) * prod(broadcast)


_TOGETHER, _APART = 3, 4
"""Axes of what attention reads: its heads one behind the other, or on an axis of their own."""


def _attention(graph: Graph, node: Node) -> int:
    """Queries times keys, and what follows times values."""
    query, key, value = (_shape(graph, name) for name in node.inputs[:3])
    if not len(query) == len(key) == len(value) or len(query) not in (_TOGETHER, _APART):
        return 0
    if len(query) == _APART:
        widths = query[1] * (query[-1] + value[-1])
    else:
        heads, groups = (int(node.attributes.get(f"{of}_num_heads", 1)) for of in ("q", "kv"))
        widths = query[-1] + value[-1] * heads // groups
    return query[0] * query[-2] * key[-2] * widths


def _grouped_attention(graph: Graph, node: Node) -> int:
    """onnxruntime's own, whose second output are all keys: ``[batch, groups, keys, width]``."""
    query = _shape(graph, node.inputs[0])
    keys = _shape(graph, node.outputs[1]) if len(node.outputs) > 1 else ()
    if len(query) != _TOGETHER or len(keys) != _APART:
        return 0
    return 2 * prod(query[:2]) * keys[2] * keys[3] * int(node.attributes.get("num_heads", 1))


_WEIGHT_INPUT = {"QLinearConv": 3}
"""Where the weights are, where they are not the second input."""

_MACS: Mapping[str, Callable[[Graph, Node], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "DeformConv"), _convolution),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("MatMul", "Gemm", "Dense", "MatMulInteger", "QLinearMatMul"), _product),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrence),
    "Einsum": _einsum,
    "Scan": _scan,
    "Attention": _attention,
    "GroupQueryAttention": _grouped_attention,
}


def _shape(graph: Graph, tensor: str) -> tuple[int, ...]:
    if tensor in graph.constants:
        return tuple(graph.constants[tensor].shape)
    known = graph.types.get(tensor)
    if known is None or known.shape is None:
        return ()
    return tuple(size or 1 for size in known.shape)


def _elements(graph: Graph, tensor: str) -> int:
    return prod(_shape(graph, tensor)) if tensor else 0


def _width(graph: Graph, tensor: str) -> int:
    known = graph.types.get(tensor)
    try:
        return np.dtype(known.dtype).itemsize if known else 4
    except TypeError:
        return 4
