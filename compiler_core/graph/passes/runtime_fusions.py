"""What onnxruntime's optimizer fuses becomes operators of the standard again.

A model that was saved after optimization holds operators of onnxruntime's own, which shape
inference does not know and no unit computes. Each of them stands for a few of the standard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.fused_node import Fused
from compiler_core.graph.passes.narrow_weights import by_narrow_weights
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter
from compiler_core.graph.passes.runtime_attention import (
    attention,
    embedding,
    group_normalization,
    layer_normalization,
    many_heads,
    root_mean_square,
    skipped_root_mean_square,
)

_DOMAIN = "com.microsoft"
_HAS_LAYER_NORMALIZATION = 17
_SINCE = {
    "SimplifiedLayerNormalization": math.inf,
    "LayerNormalization": _HAS_LAYER_NORMALIZATION,
    "GroupNormalization": 21,
}
"""What onnxruntime has in the standard's domain, and the operator set that has the same."""
_CUBIC = 0.044715
_FUSED = ("activation", "activation_params", "activation_alpha", "activation_beta")
_KINDS: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(("alpha", "beta", "activation_alpha", "activation_beta"), (float, None)),
    **dict.fromkeys(("transA", "transB", "transBatchA", "transBatchB", "group"), (int, None)),
    **dict.fromkeys(("activation", "auto_pad"), (str, None)),
    **dict.fromkeys(("kernel_shape", "strides", "dilations", "pads"), (tuple, int)),
    "activation_params": (tuple, float),
    **dict.fromkeys(("epsilon", "mask_filter_value", "scale"), (float, None)),
    **dict.fromkeys(("axis", "stash_type", "num_heads", "unidirectional"), (int, None)),
    **dict.fromkeys(("do_rotary", "past_present_share_buffer", "mask_index_type"), (int, None)),
    "qkv_hidden_sizes": (tuple, int),
    **dict.fromkeys(("K", "N", "bits", "block_size", "accuracy_level"), (int, None)),
    **dict.fromkeys(("weight_prepacked", "num_groups"), (int, None)),
}
"""Types of attributes, and of what is in them."""


@dataclass(frozen=True)
class RuntimeFusions:
    """Write fused layers, kinds of Gelu, normalizations, embeddings, attention and products by
    narrow weights as what they were fused from, once the type of their input is known."""

    name: ClassVar[str] = "runtime-fusions"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            own = node.domain == _DOMAIN or graph.opsets.get("", 0) < _SINCE.get(node.op, 0)
            way = _WAYS.get(node.op) if own else None
            if way is None or not _is_defined(node, way):
                continue
            dtype, write = rewriter.dtype(node.inputs[way.typed_by]), way.write
            if dtype not in FLOATS:
                continue
            fused = Fused(rewriter, node, np.dtype(dtype))
            if write(fused):
                fused.end()
        return rewriter.finish()


def _activated(s: Fused, source: str, parameters: tuple[float, ...]) -> bool:
    """What follows in the same node; ``False`` for functions that are not known here."""
    kind = s.node.attributes.get("activation", "")
    if kind in ("Relu", "Tanh", "Sigmoid"):
        s.add(kind, source)
    elif kind == "LeakyRelu":
        s.add(kind, source, alpha=parameters[0] if parameters else 0.01)
    elif kind == "HardSigmoid" and len(parameters) > 1:
        s.add(kind, source, alpha=parameters[0], beta=parameters[1])
    elif kind == "HardSwish":
        s.add("Mul", source, s.add("HardSigmoid", source, alpha=1 / 6, beta=0.5))
    elif kind == "Clip" and len(parameters) > 1:
        s.add(kind, source, s.number(parameters[0]), s.number(parameters[1]))
    elif kind:
        return False
    return True


def _convolution(s: Fused) -> bool:
    own = {name: value for name, value in s.node.attributes.items() if name not in _FUSED}
    result = s.add("Conv", *filter(None, s.node.inputs[:3]), **own)
    if s.given(3):
        result = s.add("Add", result, s.given(3))
    return _activated(s, result, tuple(s.node.attributes.get("activation_params", ())))


def _dense(s: Fused) -> bool:
    attributes = s.node.attributes
    own = {name: attributes[name] for name in ("alpha", "beta", "transA", "transB")
           if name in attributes}  # fmt: skip
    given = (attributes.get("activation_alpha"), attributes.get("activation_beta"))
    result = s.add("Gemm", *filter(None, s.node.inputs), **own)
    return _activated(s, result, tuple(value for value in given if value is not None))


def _product(s: Fused) -> bool:
    attributes, sides = s.node.attributes, []
    for position, side in enumerate("AB"):
        order = _turned(s, position, side)
        if order is None:
            return False
        name = s.given(position)
        plain = order == tuple(range(len(order)))
        sides.append(name if plain else s.add("Transpose", name, perm=order))
    result = s.add("MatMul", *sides)
    factor = float(attributes.get("alpha", 1.0))
    if factor != 1:
        s.add("Mul", result, s.number(factor))
    return True


def _turned(s: Fused, position: int, side: str) -> tuple[int, ...] | None:
    """The axes of an operand as a MatMul takes them: its first is behind the others but the last
    where ``transBatch`` says so; ``None`` where there may be more than are known."""
    attributes, known = s.node.attributes, s.work.types.get(s.given(position))
    turned, late = attributes.get(f"trans{side}"), attributes.get(f"transBatch{side}")
    if not turned and not late:
        return ()
    if known is None or known.shape is None or (late and len(known.shape) < 3):
        return None
    order = list(range(len(known.shape)))
    if late:
        order = [*order[1:-1], 0, order[-1]]
    if turned and len(order) > 1:  # a vector has nothing to transpose
        order[-2:] = reversed(order[-2:])
    return tuple(order)


def _gelu(s: Fused) -> bool:
    x = s.add("Add", s.given(0), s.given(1)) if s.given(1) else s.given(0)
    share = s.add("Erf", s.add("Div", x, s.number(math.sqrt(2))))
    s.add("Mul", s.add("Mul", x, s.add("Add", share, s.number(1))), s.number(0.5))
    return True


def _fast_gelu(s: Fused) -> bool:
    x = s.add("Add", s.given(0), s.given(1)) if s.given(1) else s.given(0)
    cube = s.add("Mul", s.add("Mul", s.add("Mul", x, x), x), s.number(_CUBIC))
    scaled = s.add("Mul", s.add("Add", x, cube), s.number(math.sqrt(2 / math.pi)))
    share = s.add("Add", s.add("Tanh", scaled), s.number(1))
    s.add("Mul", s.add("Mul", x, share), s.number(0.5))
    return True


def _quick_gelu(s: Fused) -> bool:
    x, factor = s.given(0), float(s.node.attributes.get("alpha", 1.702))
    s.add("Mul", x, s.add("Sigmoid", s.add("Mul", x, s.number(factor))))
    return True


def _skipped_normalization(s: Fused) -> bool:
    outputs = s.node.outputs
    if any(outputs[1:3]) or s.work.graph.opsets.get("", 0) < _HAS_LAYER_NORMALIZATION:
        return False
    total = s.add("Add", s.given(0), s.given(1))
    if s.given(4):
        total = s.add("Add", total, s.given(4))
    if len(outputs) > 3 and outputs[3]:
        s.renamed(total, outputs[3])
        total = outputs[3]
    epsilon = s.node.attributes.get("epsilon", 1e-12)
    given = [name for name in (s.given(2), s.given(3)) if name]
    s.add("LayerNormalization", total, *given, axis=-1, epsilon=epsilon)
    return True


@dataclass(frozen=True)
class _Way:
    """How an operator is written.

    Attributes:
        write: Adds the operators; ``False`` where it cannot.
        least, most: Inputs that it has; so many first ones are not left out.
        typed_by: Input that says in which type it computes.
        optional: Of the first ones those that may be left out.
    """

    write: Callable[[Fused], bool]
    least: int
    most: int
    typed_by: int = 0
    optional: tuple[int, ...] = ()


_WAYS = {
    "Attention": _Way(attention, 2, 7),
    "EmbedLayerNormalization": _Way(embedding, 7, 9, typed_by=2, optional=(1, 4)),
    "MatMulNBits": _Way(by_narrow_weights, 3, 6),
    "MultiHeadAttention": _Way(many_heads, 3, 10),
    "SimplifiedLayerNormalization": _Way(root_mean_square, 2, 2),
    "SkipSimplifiedLayerNormalization": _Way(skipped_root_mean_square, 3, 4),
    "BiasGelu": _Way(_gelu, 2, 2),
    "FastGelu": _Way(_fast_gelu, 1, 2),
    "GroupNormalization": _Way(group_normalization, 3, 3),
    "LayerNormalization": _Way(layer_normalization, 2, 3),
    "FusedConv": _Way(_convolution, 2, 4),
    "FusedGemm": _Way(_dense, 2, 3),
    "FusedMatMul": _Way(_product, 2, 2),
    "Gelu": _Way(_gelu, 1, 1),
    "QuickGelu": _Way(_quick_gelu, 1, 1),
    "SkipLayerNormalization": _Way(_skipped_normalization, 3, 5),
}


def _is_defined(node: Node, way: _Way) -> bool:
    """Whether a node is what onnxruntime defines; what is not, it refuses itself."""
    count = len(node.inputs)
    needed = (name for at, name in enumerate(node.inputs[: way.least]) if at not in way.optional)
    if not way.least <= count <= way.most or not all(needed):
        return False
    return all(_is_of_kind(name, value) for name, value in node.attributes.items())


def _is_of_kind(name: str, value: Any) -> bool:
    kind, inner = _KINDS.get(name, (None, None))
    if kind is None or not isinstance(value, kind):
        return False
    return inner is None or all(isinstance(item, inner) for item in tuple(value))
