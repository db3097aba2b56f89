"""Attention, embeddings and normalizations as onnxruntime's optimizer fuses them for transformers.

| symbol | meaning |
|---|---|
| ``B, S, L`` | batch, steps of the queries, of the keys |
| ``H`` | features of all heads together |
"""

from __future__ import annotations

import math

import numpy as np

from compiler_core.graph.passes.fused_node import Fused

_HAS_LAYER_NORMALIZATION = 17
_AXES_ARE_INPUTS = 18
"""Of ReduceMean."""
_INT32 = 6
_TOKENS_RANK = 3
"""Of samples, steps, features."""
_PARTS = 3
"""Of attention: queries, keys, values."""
_SUM = 3
"""The output of normalizations that holds what was normalized."""


def attention(s: Fused) -> bool:
    """Attention: one product makes queries, keys and values, in that order."""
    weight, bias, shape = s.held(1), s.held(2), s.shape(0)
    if weight is None or shape is None or len(shape) != _TOKENS_RANK or weight.ndim != 2:
        return False
    if (s.given(2) and bias is None) or s.given(4) or s.given(6) or any(s.node.outputs[1:]):
        return False
    sizes = s.node.attributes.get("qkv_hidden_sizes") or (weight.shape[1] // 3,) * 3
    ends = np.cumsum(sizes)
    if len(sizes) != _PARTS or ends[-1] != weight.shape[1] or s.node.attributes.get("do_rotary"):
        return False
    parts = []
    for name, end, size in zip(("q", "k", "v"), ends.tolist(), sizes, strict=True):
        own = s.constant(f"{name}.weight", weight[:, end - size : end])
        part = s.add("MatMul", s.given(0), own)
        if bias is not None:
            part = s.add("Add", part, s.constant(f"{name}.bias", bias[end - size : end]))
        parts.append(part)
    return _attended(s, parts, (shape[1], shape[1]), (sizes[1], sizes[2]), 3, 5)


def many_heads(s: Fused) -> bool:
    """MultiHeadAttention: queries, keys and values apart, a bias for all of them."""
    shapes, bias = [s.shape(position) for position in range(3)], s.held(3)
    if any(shape is None or len(shape) != _TOKENS_RANK for shape in shapes):
        return False
    if (s.given(3) and bias is None) or any(s.given(n) for n in range(6, 10)):
        return False
    if any(s.node.outputs[1:]):
        return False
    sizes = [shape[2] for shape in shapes if shape is not None]
    steps = [shape[1] for shape in shapes if shape is not None]
    parts, ends = [s.given(position) for position in range(3)], np.cumsum(sizes)
    if bias is not None:
        if bias.shape != (ends[-1],):
            return False
        parts = [
            s.add("Add", part, s.constant(f"{number}.bias", bias[end - size : end]))
            for number, (part, end, size) in enumerate(zip(parts, ends, sizes, strict=True))
        ]
    return _attended(s, parts, (steps[0], steps[1]), (sizes[1], sizes[2]), 4, 5)


def _attended(
    s: Fused,
    parts: list[str],
    steps: tuple[int, int],
    sizes: tuple[int, int],
    mask: int,
    added: int,
) -> bool:
    """What heads of queries, keys and values make of each other.

    Args:
        s: The node.
        parts: ``[B, S, H]``, ``[B, L, H]``, ``[B, L, features of values]``.
        steps: ``S`` and ``L``.
        sizes: Features of keys and of values.
        mask: Input that says which keys count.
        added: Input that is added to the scores.
    """
    heads = int(s.node.attributes.get("num_heads", 0))
    if not heads or any(size % heads for size in sizes):
        return False
    split = [
        _heads(s, part, heads, size, order)
        for part, size, order in zip(
            parts, (sizes[0], *sizes), ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True
        )
    ]
    scale = float(s.node.attributes.get("scale", 0.0)) or 1 / math.sqrt(sizes[0] // heads)
    scores = s.add("Mul", s.add("MatMul", split[0], split[1]), s.number(scale))
    lowest = float(s.node.attributes.get("mask_filter_value", -10000.0))
    if s.given(mask):
        hidden = _hidden(s, mask, steps[1], lowest)
        if not hidden:
            return False
        scores = s.add("Add", scores, hidden)
    if s.given(added):
        scores = s.add("Add", scores, s.given(added))
    if s.node.attributes.get("unidirectional"):
        later = np.triu(np.ones(steps, bool), 1 + steps[1] - steps[0])
        later = np.where(later, np.array(lowest, s.dtype), np.array(0, s.dtype))
        scores = s.add("Add", scores, s.constant("later", later))
    found = s.add("MatMul", s.add("Softmax", scores, axis=-1), split[2])
    rows = s.add("Transpose", found, perm=(0, 2, 1, 3))
    s.add("Reshape", rows, s.constant("rows", np.array([0, 0, sizes[1]], np.int64)))
    return True


def _heads(s: Fused, part: str, heads: int, size: int, order: tuple[int, ...]) -> str:
    shape = s.constant("heads", np.array([0, 0, heads, size // heads], np.int64))
    return s.add("Transpose", s.add("Reshape", part, shape), perm=order)


def _hidden(s: Fused, mask: int, steps: int, lowest: float) -> str:
    """What is added to scores of keys that do not count; nothing for masks of other forms.

    Those have a value per key, ``[B, L]``, or say how many keys count, ``[B]``.
    """
    shape, name = s.shape(mask), s.given(mask)
    if shape is None:
        return ""
    if len(shape) == 1:
        length = s.add("Reshape", name, s.constant("apart", np.array([-1, 1, 1, 1], np.int64)))
        places = np.arange(steps, dtype=np.int32).reshape(1, 1, 1, -1)
        counts = s.add("Less", s.constant("places", places), length)
    elif len(shape) == 2 and shape[1] == steps:
        apart = s.constant("apart", np.array([-1, 1, 1, steps], np.int64))
        value = s.add("Reshape", name, apart)
        counts = s.add("Greater", value, s.constant("none", np.zeros((), np.int32)))
    else:
        return ""
    return s.add("Where", counts, s.number(0.0), s.number(lowest))


def embedding(s: Fused) -> bool:
    """EmbedLayerNormalization: rows for words, places and segments, normalized."""
    shape, places = s.shape(0), s.held(3)
    opset = s.work.graph.opsets.get("", 0)
    if shape is None or len(shape) != 2 or opset < _HAS_LAYER_NORMALIZATION:
        return False
    outputs = (*s.node.outputs, "", "")
    if s.given(8):
        where = s.add("Gather", s.given(3), s.given(8), axis=0)
    elif places is not None and len(places) >= shape[1]:
        where = s.constant("places", places[: shape[1]])
    else:
        return False
    if outputs[1]:
        _count(s, shape, outputs[1])
    total = s.add("Add", s.add("Gather", s.given(2), s.given(0), axis=0), where)
    if s.given(1) and s.given(4):
        total = s.add("Add", total, s.add("Gather", s.given(4), s.given(1), axis=0))
    if outputs[2]:
        s.renamed(total, outputs[2])
        total = outputs[2]
    epsilon = s.node.attributes.get("epsilon", 1e-12)
    s.add("LayerNormalization", total, s.given(5), s.given(6), axis=-1, epsilon=epsilon)
    return True


def _count(s: Fused, shape: tuple[int, ...], name: str) -> None:
    """How many words of each sentence count; none where no mask says so."""
    if s.given(7):
        one = s.constant("one", np.ones((), np.int32))
        marked = s.add("Cast", s.add("Equal", s.given(7), one), to=_INT32)
        axes = s.constant("axes", np.array([1], np.int64))
        found = s.add("ReduceSum", marked, axes, keepdims=0)
    else:
        # Of each sentence, whatever its words are.
        column = s.add("Cast", s.given(0), to=_INT32)
        axes = s.constant("axes", np.array([1], np.int64))
        zero = s.constant("zero", np.zeros(shape[1], np.int32))
        found = s.add("ReduceSum", s.add("Mul", column, zero), axes, keepdims=0)
    s.renamed(found, name)


def layer_normalization(s: Fused) -> bool:
    """LayerNormalization where the standard has none yet, over the last axis."""
    shape, axis = s.shape(0), int(s.node.attributes.get("axis", -1))
    if s.node.domain or shape is None or axis not in (-1, len(shape) - 1):
        return False
    if any(s.node.outputs[1:]):
        return False
    centred = s.add("Sub", s.given(0), _mean(s, s.given(0)))
    found = _scaled(s, centred, s.given(1))
    if s.given(2):
        s.add("Add", found, s.given(2))
    return True


def group_normalization(s: Fused) -> bool:
    """GroupNormalization as operator set 18 had it, with a scale and bias for each group."""
    shape, scale = s.shape(0), s.shape(1)
    groups = int(s.node.attributes.get("num_groups", 0))
    if s.node.domain or shape is None or len(shape) < 2 or scale != (groups,):
        return False
    apart = s.constant("apart", np.array([0, groups, -1], np.int64))
    together = s.constant("together", np.array([0, *shape[1:]], np.int64))
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    rows = s.add("Reshape", s.given(0), apart)
    found = s.add("InstanceNormalization", rows, s.given(1), s.given(2), epsilon=epsilon)
    s.add("Reshape", found, together)
    return True


def root_mean_square(s: Fused) -> bool:
    """SimplifiedLayerNormalization over the last axis."""
    shape = s.shape(0)
    axis = int(s.node.attributes.get("axis", -1))
    last = shape is not None and axis in (-1, len(shape) - 1)
    return last and not any(s.node.outputs[1:]) and _normalized(s, s.given(0), s.given(1))


def skipped_root_mean_square(s: Fused) -> bool:
    """SkipSimplifiedLayerNormalization: of a sum, which may be a result, too."""
    outputs = s.node.outputs
    if any(outputs[1:3]):
        return False
    total = s.add("Add", s.given(0), s.given(1))
    if s.given(3):
        total = s.add("Add", total, s.given(3))
    if len(outputs) > _SUM and outputs[_SUM]:
        s.renamed(total, outputs[_SUM])
        total = outputs[_SUM]
    return _normalized(s, total, s.given(2))


def _normalized(s: Fused, x: str, scale: str) -> bool:
    _scaled(s, x, scale)
    return True


def _scaled(s: Fused, x: str, scale: str) -> str:
    """What is divided by the root of the mean of its squares, and scaled."""
    mean = _mean(s, s.add("Mul", x, x))
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    size = s.add("Sqrt", s.add("Add", mean, s.number(epsilon)))
    return s.add("Mul", s.add("Div", x, size), scale)


def _mean(s: Fused, x: str) -> str:
    """Along the last axis."""
    if s.work.graph.opsets.get("", 0) >= _AXES_ARE_INPUTS:
        axes = s.constant("axes", np.array([-1], np.int64))
        return s.add("ReduceMean", x, axes, keepdims=1)
    return s.add("ReduceMean", x, axes=(-1,), keepdims=1)
