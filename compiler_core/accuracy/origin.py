"""Where an output's values come from: the way back from it to the operator that made its features.

The way leads through whatever moves values (transposes, reshapes, slices) or keeps their channels
(activations, pools, biases), and ends at a softmax, at an operator with weights, at whole numbers,
or where nothing is known any more. Each axis is followed on the way, so that the axis of the output
is found on which a convolution or product has written its features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compiler_core.accuracy.regrouping import regrouped
from compiler_core.graph.ir import Graph, Node


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEEPS = _names(
    "Relu LeakyRelu Elu Selu Celu Gelu Clip HardSwish Mish Softplus Softsign ThresholdedRelu Neg "
    "Abs Log Identity Dropout Cast CastLike QuantizeLinear DequantizeLinear BatchNormalization LRN "
    "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool Resize Upsample Pad "
    "DepthToSpace Expand Tile PRelu Swish"
)
"""Each axis stays what it is; the first input goes on."""
_RESHAPES = _names("Reshape Flatten Squeeze Unsqueeze")
_ARITHMETIC = _names("Add Sub Mul Div Pow Max Min Sum Mean Where")
_REDUCTIONS = _names("ReduceMean ReduceSum ReduceMax ReduceMin ReduceLogSumExp")
_WHOLE = _names(
    "ArgMax ArgMin NonZero Shape Size OneHot NonMaxSuppression Equal Greater GreaterOrEqual Less "
    "LessOrEqual And Or Xor Not IsNaN IsInf Round Floor Ceil Sign Hardmax"
)
_FEATURES_FIRST = _names("Conv ConvTranspose QLinearConv ConvInteger DeformConv FusedConv")
_FEATURES_LAST = _names("Gemm Dense MatMul MatMulInteger QLinearMatMul")
_BELOW_A_FRACTION = _names("Sqrt Clip Max Add Expand Identity Reshape Unsqueeze Squeeze Cast Tile")
"""What may stand between a sum and the division by it."""
_NO_SCORES = {
    "Exp": "it is computed with Exp",
    "Tanh": "it comes from a Tanh",
    "LpNormalization": "it is a vector of unit length",
    "LayerNormalization": "it is normalized features",
    "RMSNormalization": "it is normalized features",
    "GroupNormalization": "it is normalized features",
    "InstanceNormalization": "it is normalized features",
    "LSTM": "it is a recurrent state",
    "GRU": "it is a recurrent state",
    "RNN": "it is a recurrent state",
}


@dataclass(frozen=True)
class OutputOrigin:
    """What the graph says of an output.

    Attributes:
        axis: Axis of the output that holds features or what a softmax ran over; ``None`` for not
            known.
        softmax, sigmoid: Whether one made the values.
        whole: Whether they are whole numbers: positions, comparisons, roundings.
        ranked: Axis along which a TopK has put positions in order.
        classes: How many the positions of an ArgMax or a TopK can be told from.
        no_scores: Why they cannot be scores of classes; empty where nothing says so.
        way: Tensors on the way back, the output among them; it leads on above a softmax.
        ends_at: The operator where the way ends.
    """

    axis: int | None = None
    softmax: bool = False
    sigmoid: bool = False
    whole: bool = False
    ranked: int | None = None
    classes: int | None = None
    no_scores: str = ""
    way: frozenset[str] = frozenset()
    ends_at: Node | None = None


def trace(graph: Graph, output: str) -> OutputOrigin:
    """Follows ``output`` back."""
    walk = _walked(graph, output)
    found = walk.origin()
    if found.whole and not _are_whole(graph, walk.beside):
        found = replace(found, whole=False, ranked=None, classes=None)
    if not walk.normalized:
        return found
    scores = trace(graph, walk.normalized)
    return replace(found, way=found.way | scores.way, ends_at=scores.ends_at)


def _walked(graph: Graph, output: str) -> _Walk:
    walk = _Walk(graph, output)
    while walk.step():
        pass
    return walk


def _are_whole(graph: Graph, tensors: Sequence[str]) -> bool:
    """Whether all of these, and what is added to them or joined with them on their way, are whole
    numbers."""
    waiting, seen = list(tensors), set(tensors)
    while waiting:
        walk = _walked(graph, waiting.pop())
        if not walk.origin().whole:
            return False
        fresh = [name for name in walk.beside if name not in seen]
        waiting += fresh
        seen.update(fresh)
    return True


@dataclass
class _Walk:
    graph: Graph
    tensor: str
    axes: list[int | None] = field(default_factory=list)
    way: list[str] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    normalized: str = ""
    computed: bool = False
    joined: set[int | None] = field(default_factory=set)
    cut: set[int | None] = field(default_factory=set)
    varying: set[int | None] = field(default_factory=set)
    beside: list[str] = field(default_factory=list)  # added or joined on the way

    def __post_init__(self) -> None:
        self.axes = list(range(len(self.shape(self.tensor) or ())))

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """A tensor's shape where it is known whole."""
        known = self.graph.types.get(tensor)
        if known is None or known.shape is None or None in known.shape:
            return None
        return tuple(int(size or 0) for size in known.shape)

    def step(self) -> bool:
        """One operator back; whether there is more."""
        self.way.append(self.tensor)
        node = self.graph.producer(self.tensor)
        if node is None or node.domain not in ("", "nest") or len(self.way) > 1000:
            return False
        self.found["ends_at"] = node
        known = self.shape(self.tensor)
        if known is None or len(known) != len(self.axes):
            return False
        handler = _handler(node.op)
        return handler is not None and handler(self, node)

    def go(self, tensor: str, axes: list[int | None]) -> bool:
        """On to ``tensor``, whose axes come out where ``axes`` says."""
        known = self.shape(tensor)
        if known is None or len(known) != len(axes):
            return False
        self.tensor, self.axes = tensor, axes
        return True

    def end(self, axis: int, **found: Any) -> bool:
        """The way ends at features on ``axis`` of the tensor that has been reached."""
        rank = len(self.axes)
        at = self.axes[axis] if -rank <= axis < rank else None
        self.found |= {"axis": at, "lost": at is None, **found}
        return False

    def origin(self) -> OutputOrigin:
        """What was found."""
        found = dict(self.found)
        lost, axis = found.pop("lost", False), found.get("axis")
        reason = found.pop("no_scores", "")
        scored = found.get("softmax") or found.get("sigmoid")
        if not reason and lost:
            reason = "no axis of it holds features alone"
        elif not reason and axis is not None and axis in self.joined:
            reason = "its last axis is joined from several parts"
        elif not reason and axis is not None and not scored:
            if axis in self.cut:
                reason = "it is a part that was cut out"
            elif self.varying - {axis, None}:
                reason = "constants that differ from position to position are in it"
        return OutputOrigin(**found, no_scores=reason, way=frozenset(self.way))


_Step = Callable[[_Walk, Node], bool]


def _handler(op: str) -> _Step | None:
    if op in _KEEPS:
        return _keep
    if op in _RESHAPES:
        return _reshape
    if op in _ARITHMETIC:
        return _arithmetic
    if op in _REDUCTIONS:
        return _reduce
    if op in _WHOLE:
        return _whole
    if op in _FEATURES_FIRST:
        return lambda walk, _node: walk.end(1)
    if op in _FEATURES_LAST:
        return _product
    if op in _NO_SCORES:
        return _no_scores
    return _OTHERS.get(op)


def _keep(walk: _Walk, node: Node) -> bool:
    before, after = walk.shape(node.inputs[0]), walk.shape(walk.tensor)
    if before is None or after is None or len(before) != len(after):
        return False
    return walk.go(node.inputs[0], walk.axes)


def _sigmoid(walk: _Walk, node: Node) -> bool:
    if not walk.computed:  # what is computed from probabilities is at half at another value
        walk.found["sigmoid"] = True
    return _keep(walk, node)


def _reshape(walk: _Walk, node: Node) -> bool:
    before, after = walk.shape(node.inputs[0]), walk.shape(walk.tensor)
    if before is None or after is None:
        return False
    moved = regrouped(before, after)
    return walk.go(
        node.inputs[0],
        [walk.axes[moved[i]] if i in moved else None for i in range(len(before))],
    )


def _transpose(walk: _Walk, node: Node) -> bool:
    rank = len(walk.axes)
    order = [int(i) for i in node.attributes.get("perm") or reversed(range(rank))]
    if sorted(order) != list(range(rank)):
        return False
    axes: list[int | None] = [None] * rank
    for position, axis in enumerate(order):
        axes[axis] = walk.axes[position]
    return walk.go(node.inputs[0], axes)


def _arithmetic(walk: _Walk, node: Node) -> bool:
    inputs = node.inputs[1:] if node.op == "Where" else node.inputs
    if node.op == "Div" and (ended := _normalization(walk, node)) is not None:
        return ended
    walk.computed = True
    after = walk.shape(walk.tensor)
    for name in inputs:
        constant = walk.graph.constants.get(name)
        if constant is not None and after is not None:
            shift = len(after) - constant.ndim
            walk.varying |= {
                walk.axes[axis + shift]
                for axis, size in enumerate(constant.shape)
                if size > 1 and axis + shift >= 0
            }
    computed = [name for name in inputs if name not in walk.graph.constants]
    for name in computed:
        if walk.shape(name) == after:
            walk.beside += [other for other in computed if other != name]
            return walk.go(name, walk.axes)
    return False


def _normalization(walk: _Walk, node: Node) -> bool | None:
    """A softmax written out, ``e / sum(e)``, or a vector of unit length."""
    below = walk.graph.producer(node.inputs[1])
    while below is not None and below.op in _BELOW_A_FRACTION:
        if below.op == "Sqrt":
            walk.found["no_scores"] = "it is a vector of unit length"
            return False
        below = walk.graph.producer(below.inputs[0])
    if below is None or node.inputs[0] not in below.inputs:
        return None
    if below.op in ("ReduceL2", "ReduceL1"):
        walk.found["no_scores"] = "it is a vector of unit length"
        return False
    if below.op != "ReduceSum":
        return None
    axes = _axes(walk, below, len(walk.axes))
    if axes is None or len(axes) != 1:
        return None
    raised = walk.graph.producer(node.inputs[0])
    walk.normalized = raised.inputs[0] if raised is not None and raised.op == "Exp" else ""
    return walk.end(axes[0], softmax=True)


def _axes(walk: _Walk, node: Node, rank: int) -> list[int] | None:
    """Axes of a reduction; all where none are given, ``None`` where they are computed."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        if node.inputs[1] not in walk.graph.constants:
            return None
        given = np.asarray(walk.graph.constants[node.inputs[1]]).reshape(-1).tolist()
    return sorted(int(axis) % max(rank, 1) for axis in (range(rank) if given is None else given))


def _reduce(walk: _Walk, node: Node) -> bool:
    before = walk.shape(node.inputs[0])
    if before is None:
        return False
    gone = _axes(walk, node, len(before))
    if gone is None:
        return False
    walk.computed = True
    left = iter(walk.axes)
    axes: list[int | None] = []
    keeps = node.attributes.get("keepdims", 1)
    for axis in range(len(before)):
        if axis in gone:
            if keeps:
                next(left, None)
            axes.append(None)
        else:
            axes.append(next(left, None))
    return walk.go(node.inputs[0], axes)


def _concat(walk: _Walk, node: Node) -> bool:
    axis = int(node.attributes.get("axis", 0))
    walk.joined.add(walk.axes[axis])
    computed = [name for name in node.inputs if name not in walk.graph.constants]
    for name in computed:
        if walk.graph.producer(name) is not None:
            walk.beside += [other for other in computed if other != name]
            return walk.go(name, walk.axes)
    return False


def _slice(walk: _Walk, node: Node) -> bool:
    before, after = walk.shape(node.inputs[0]), walk.shape(walk.tensor)
    if before is None or after is None or len(before) != len(after):
        return False
    walk.cut |= {walk.axes[i] for i, size in enumerate(before) if size != after[i]}
    return walk.go(node.inputs[0], walk.axes)


def _gather(walk: _Walk, node: Node) -> bool:
    indices = walk.graph.constants.get(node.inputs[1])
    before = walk.shape(node.inputs[0])
    if node.inputs[0] in walk.graph.constants:
        return walk.end(-1)
    if indices is None or before is None or indices.ndim > 1:
        return False
    axis = int(node.attributes.get("axis", 0)) % len(before)
    if indices.ndim:
        return _slice(walk, node)
    return walk.go(node.inputs[0], [*walk.axes[:axis], None, *walk.axes[axis:]])


def _softmax(walk: _Walk, node: Node) -> bool:
    default = -1 if walk.graph.opsets.get("", 13) >= 13 else 1
    walk.normalized = node.inputs[0]
    return walk.end(int(node.attributes.get("axis", default)), softmax=True)


def _product(walk: _Walk, node: Node) -> bool:
    turned = node.op == "MatMul" and node.inputs[0] in walk.graph.constants
    return walk.end(-2 if turned else -1)


def _whole(walk: _Walk, node: Node) -> bool:
    before = walk.shape(node.inputs[0])
    walk.found["whole"] = True
    if node.op in ("ArgMax", "ArgMin") and before:
        walk.found["classes"] = before[int(node.attributes.get("axis", 0))]
    return False


def _top(walk: _Walk, node: Node) -> bool:
    axis = int(node.attributes.get("axis", -1))
    if walk.tensor == node.outputs[0]:
        walk.found["no_scores"] = "it is sorted by TopK"
        return False
    before = walk.shape(node.inputs[0])
    walk.found |= {
        "whole": True,
        "ranked": walk.axes[axis] if walk.axes else None,
        "classes": before[axis] if before else None,
    }
    return False


def _no_scores(walk: _Walk, node: Node) -> bool:
    walk.found["no_scores"] = _NO_SCORES[node.op]
    return False


_OTHERS: dict[str, _Step] = {
    "Sigmoid": _sigmoid,
    "HardSigmoid": _sigmoid,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _slice,
    "Gather": _gather,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "TopK": _top,
}
