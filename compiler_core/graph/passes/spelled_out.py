"""Operators that generated sources have no kernel for, as others that they have.

It is no part of :func:`~compiler_core.graph.passes.simplify.simplify`: where a runtime has the
operator, one is better than several.

| operator | becomes |
|---|---|
| PRelu with a slope per channel | x where positive, plus slope times x where negative |
| LogSoftmax | x less its maximum, less the logarithm of the sum of exponentials |
| InstanceNormalization | LayerNormalization of channels, scale, bias; before opset 17 by means |
| Sum, Mean, Max, Min of several | one pair after another |
| ReduceL1, -L2, -SumSquare, -LogSumExp | ReduceSum between functions of one element |
| LpNormalization | x divided by ReduceL1 or ReduceL2, or the smallest number |
| Add of a constant that holds −∞ | Where: the sum, or −∞ |
| Celu | Elu between two factors |
| BatchNormalization that no layer took | a depthwise convolution of one tap; Mul and Add |
| Pad by reflection, edges or the other end | Gather along each axis |
| Scaler of classical learners | x less an offset, times a scale |
| Normalizer of classical learners, L1 and L2 | as LpNormalization |
| LinearRegressor, LinearClassifier | Gemm; Softmax or Sigmoid; the label is ArgMax and Gather |
| TreeEnsembleClassifier | sums over trees and the same; see :mod:`.spelled_trees` |
| MaxPool, AveragePool, global pools over volumes | two pools over images |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.learner_types import DOMAIN
from compiler_core.graph.passes.batch_norm import batch_norm_affine
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.spelled_masks import masked_sum
from compiler_core.graph.passes.spelled_trees import label_array, tree_classifier, tree_regressor
from compiler_core.graph.passes.spelled_volumes import global_volume_pool, volume_pool

_HAS_LAYER_NORMALIZATION = 17
_AXES_ARE_INPUTS = 18
"""Of ReduceMax and ReduceMean; of ReduceSum since 13."""

_PAD_MODES: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}


def spelled_out(graph: Graph) -> Graph:
    """The graph without these operators, simplified; where a shape is not fixed they stay."""
    work = SpelledOut().apply(graph)
    return graph if work is graph else simplify(work)


@dataclass(frozen=True)
class SpelledOut:
    """The pass."""

    name: ClassVar[str] = "spelled-out"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        work = Rewriter(graph)
        for node in work.nodes():
            way = _way(node)
            if way is None or work.dtype(node.inputs[0]) != "float32":
                continue
            shape = work.shape(node.inputs[0])
            if shape and way(Spelling(work, node, shape)):
                work.changed = True
        return work.finish()


class Spelling:
    """Writes what a node becomes.

    Args:
        work: The graph.
        node: Of it.
        shape: Of its first input.
    """

    def __init__(self, work: Rewriter, node: Node, shape: tuple[int, ...]) -> None:
        self.work, self.node, self.shape = work, node, shape
        self.opset = work.graph.opsets.get("", 0)
        self._nodes: list[Node] = []

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        """An operator; the name of its result."""
        return self.add_of("", op, inputs, shape, attributes)

    def add_of(
        self,
        domain: str,
        op: str,
        inputs: list[str],
        shape: tuple[int, ...],
        attributes: dict[str, Any],
    ) -> str:
        """An operator of a domain; the name of its result."""
        base = f"{self.node.name}/{op.lower()}{len(self._nodes)}"
        result = self.work.add_tensor(base, shape, self.node.inputs[0])
        name = self.work.fresh_node(base)
        self._nodes.append(Node(name, op, tuple(inputs), (result,), attributes, domain))
        return result

    def constant(self, what: str, array: Any) -> str:
        """A constant."""
        return self.work.add_constant(f"{self.node.name}/{what}", np.asarray(array))

    def end(self) -> bool:
        """Puts what was written into the place of the node; the last result has its name."""
        last = self._nodes.pop()
        outputs, clip = self.node.outputs, self.node.clip
        self._nodes.append(replace(last, outputs=outputs, clip=clip))
        self.work.replace(self.node, *self._nodes)
        return True

    def end_as(self, names: Mapping[str, str]) -> bool:
        """Puts what was written into the place of the node; results have the names of its own.

        Args:
            names: Name of an output of the node by the result that it is.
        """

        def own(tensors: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(tensor, tensor) for tensor in tensors)

        nodes = (replace(n, inputs=own(n.inputs), outputs=own(n.outputs)) for n in self._nodes)
        self.work.replace(self.node, *nodes)
        return True


def _prelu(s: Spelling) -> bool:
    slope = s.work.constant(s.node, 1)
    if slope is None or slope.size == 1:
        return False
    x = s.node.inputs[0]
    above = s.add("Relu", [x], s.shape)
    below = s.add("Min", [x, s.constant("zero", np.zeros((), np.float32))], s.shape)
    scaled = s.add("Mul", [below, s.node.inputs[1]], s.shape)
    s.add("Add", [above, scaled], s.shape)
    return s.end()


def _log_softmax(s: Spelling) -> bool:
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    rest = tuple(1 if i == axis else size for i, size in enumerate(s.shape))
    x, axes = s.node.inputs[0], s.constant("axes", np.array([axis], np.int64))
    most = _over(s, "ReduceMax", x, axes, [axis], rest)
    less = s.add("Sub", [x, most], s.shape)
    total = s.add("ReduceSum", [s.add("Exp", [less], s.shape), axes], rest, keepdims=1)
    s.add("Sub", [less, s.add("Log", [total], rest)], s.shape)
    return s.end()


def _instance_normalization(s: Spelling) -> bool:
    scale, bias = s.work.constant(s.node, 1), s.work.constant(s.node, 2)
    if scale is None or bias is None or len(s.shape) < 3:
        return False
    samples, channels, *axes = s.shape
    size = prod(axes)
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    flat = (samples, channels, size)
    whole = s.constant("shape", np.array(flat, np.int64))
    rows = s.add("Reshape", [s.node.inputs[0], whole], flat)
    if s.opset < _HAS_LAYER_NORMALIZATION:
        normal = _by_means(s, rows, flat, epsilon)
    else:
        ones = s.constant("ones", np.ones(size, np.float32))
        zeros = s.constant("zeros", np.zeros(size, np.float32))
        normal = s.add("LayerNormalization", [rows, ones, zeros], flat, axis=-1, epsilon=epsilon)
    back = s.constant("back", np.array(s.shape, np.int64))
    found = s.add("Reshape", [normal, back], s.shape)
    row = (channels, *(1 for _ in axes))
    scaled = s.add("Mul", [found, s.constant("scale", scale.reshape(row))], s.shape)
    s.add("Add", [scaled, s.constant("bias", bias.reshape(row))], s.shape)
    return s.end()


def _by_means(s: Spelling, x: str, shape: tuple[int, ...], epsilon: float) -> str:
    """Rows less their mean, divided by their deviation."""
    axis = len(shape) - 1
    rest = (*shape[:axis], 1)
    axes = s.constant("axes", np.array([axis], np.int64))
    away = s.add("Sub", [x, _over(s, "ReduceMean", x, axes, [axis], rest)], shape)
    square = s.add("Mul", [away, away], shape)
    variance = _over(s, "ReduceMean", square, axes, [axis], rest)
    some = s.add("Add", [variance, s.constant("epsilon", np.float32(epsilon))], rest)
    return s.add("Div", [away, s.add("Sqrt", [some], rest)], shape)


def _several(s: Spelling) -> bool:
    """Sum, Mean, Max and Min of any number of tensors."""
    op, inputs = s.node.op, s.node.inputs
    pair = {"Sum": "Add", "Mean": "Add"}.get(op, op)
    result = s.work.shape(s.node.output)
    if result is None or len(inputs) < 2 or (pair == op and len(inputs) == 2):
        return False
    shapes = [s.work.shape(name) for name in inputs]
    found, known = inputs[0], shapes[0] or ()
    for name, shape in zip(inputs[1:], shapes[1:], strict=True):
        if shape is None:
            return False
        known = np.broadcast_shapes(known, shape)
        found = s.add(pair, [found, name], known)
    if op == "Mean":
        s.add("Mul", [found, s.constant("share", np.float32(1 / len(inputs)))], result)
    return s.end()


def _reduced(s: Spelling) -> bool:
    """ReduceL1, ReduceL2, ReduceSumSquare and ReduceLogSumExp."""
    axes, result = s.node.attributes.get("axes"), s.work.shape(s.node.output)
    if axes is None and len(s.node.inputs) > 1 and s.node.inputs[1]:
        given = s.work.constant(s.node, 1)
        axes = None if given is None else given.ravel().tolist()
        if given is None:
            return False
    if result is None or (not axes and s.node.attributes.get("noop_with_empty_axes")):
        return False
    keep = int(s.node.attributes.get("keepdims", 1))
    _norm(s, s.node.op, [int(axis) for axis in axes or range(len(s.shape))], result, keep)
    return s.end()


def _norm(s: Spelling, op: str, axes: list[int], result: tuple[int, ...], keep: int) -> str:
    """A sum of absolute values, squares or exponentials, and what is made of it."""
    x, where = s.node.inputs[0], s.constant("axes", np.array(axes, np.int64))
    if op == "ReduceLogSumExp":
        return _log_of_sum(s, x, where, axes, result)
    parts = s.add("Abs", [x], s.shape) if op == "ReduceL1" else s.add("Mul", [x, x], s.shape)
    total = s.add("ReduceSum", [parts, where], result, keepdims=keep)
    return s.add("Sqrt", [total], result) if op == "ReduceL2" else total


def _log_of_sum(s: Spelling, x: str, where: str, axes: list[int], result: tuple[int, ...]) -> str:
    """The logarithm of a sum of exponentials, none of which is more than 1; infinities stay."""
    reduced = {axis % len(s.shape) for axis in axes}
    rest = tuple(1 if i in reduced else size for i, size in enumerate(s.shape))
    largest = np.finfo(np.float32).max
    most = _over(s, "ReduceMax", x, where, axes, rest)
    most = s.add("Max", [most, s.constant("least", -largest)], rest)
    most = s.add("Min", [most, s.constant("largest", largest)], rest)
    powers = s.add("Exp", [s.add("Sub", [x, most], s.shape)], s.shape)
    total = s.add("ReduceSum", [powers, where], rest, keepdims=1)
    found = s.add("Add", [s.add("Log", [total], rest), most], rest)
    shape = s.constant("shape", np.array(result, np.int64))
    return found if result == rest else s.add("Reshape", [found, shape], result)


def _over(s: Spelling, op: str, x: str, where: str, axes: list[int], rest: tuple[int, ...]) -> str:
    """A mean or maximum over axes, which stay as ones."""
    if s.opset >= _AXES_ARE_INPUTS:
        return s.add(op, [x, where], rest, keepdims=1)
    return s.add(op, [x], rest, axes=tuple(axes), keepdims=1)


def _lp_normalization(s: Spelling) -> bool:
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    power = int(s.node.attributes.get("p", 2))
    return power in (1, 2) and _by_length(s, power, axis)


def _by_length(s: Spelling, power: int, axis: int) -> bool:
    """Values divided by the length of their row."""
    rest = tuple(1 if i == axis else size for i, size in enumerate(s.shape))
    size = _norm(s, f"ReduceL{power}", [axis], rest, 1)
    # What has no length stays as it is.
    some = s.add("Max", [size, s.constant("least", np.finfo(np.float32).tiny)], rest)
    s.add("Div", [s.node.inputs[0], some], s.shape)
    return s.end()


def _celu(s: Spelling) -> bool:
    alpha = np.float32(s.node.attributes.get("alpha", 1.0))
    scaled = s.add("Div", [s.node.inputs[0], s.constant("alpha", alpha)], s.shape)
    found = s.add("Elu", [scaled], s.shape, alpha=1.0)
    s.add("Mul", [found, s.constant("alpha", alpha)], s.shape)
    return s.end()


def _pad(s: Spelling) -> bool:
    """Pad in which elements come again: a Gather per axis."""
    mode = s.node.attributes.get("mode", "constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    amounts, rank = s.work.constant(s.node, 1), len(s.shape)
    named = len(s.node.inputs) > 3 and s.node.inputs[3]
    axes = s.work.constant(s.node, 3) if named else np.arange(rank)
    if mode not in _PAD_MODES or amounts is None or axes is None:
        return False
    found, known = s.node.inputs[0], list(s.shape)
    pairs = amounts.reshape(2, -1).T.tolist()
    for axis, (before, after) in zip((axes.ravel() % rank).tolist(), pairs, strict=True):
        if not before and not after:
            continue
        index = np.arange(known[axis])
        index = index[max(-before, 0) : len(index) + min(after, 0)]
        if not len(index):
            return False
        around = (max(before, 0), max(after, 0))
        index = np.pad(index, around, mode=_PAD_MODES[mode])
        known[axis] = len(index)
        places = s.constant("places", index.astype(np.int64))
        found = s.add("Gather", [found, places], tuple(known), axis=axis)
    return found != s.node.inputs[0] and s.end()


def _scaler(s: Spelling) -> bool:
    """What ``StandardScaler`` and the like are exported as; of columns, or of all alike."""
    known = (s.node.attributes.get(name, ()) for name in ("offset", "scale"))
    offset, scale = (np.asarray(row, np.float32).ravel() for row in known)
    if not {offset.size, scale.size} <= {1, s.shape[-1]}:
        return False
    less = s.add("Sub", [s.node.inputs[0], s.constant("offset", offset)], s.shape)
    s.add("Mul", [less, s.constant("scale", scale)], s.shape)
    return s.end()


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _normalizer(s: Spelling) -> bool:
    power = {"L1": 1, "L2": 2}.get(_text(s.node, "norm", "MAX"))
    return power is not None and len(s.shape) == 2 and _by_length(s, power, 1)


_AFTER = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}


def _linear_scores(s: Spelling, rows: int) -> str | None:
    """The scores of a linear learner of ``rows`` outputs, behind its last function."""
    columns, after = s.shape[-1], _text(s.node, "post_transform", "NONE")
    factors = np.asarray(s.node.attributes.get("coefficients", ()), np.float32)
    shift = np.asarray(s.node.attributes.get("intercepts", ()), np.float32)
    if len(s.shape) != 2 or factors.size != rows * columns or after not in _AFTER:
        return None
    if shift.size not in (0, rows):
        return None
    shift = shift if shift.size else np.zeros(rows, np.float32)
    weights = s.constant("coefficients", np.ascontiguousarray(factors.reshape(rows, columns).T))
    inputs = [s.node.inputs[0], weights, s.constant("intercepts", shift)]
    shape = (s.shape[0], rows)
    scores = s.add("Gemm", inputs, shape)
    function = _AFTER[after]
    more = {"axis": -1} if function == "Softmax" else {}
    return scores if function is None else s.add(function, [scores], shape, **more)


def _linear_regressor(s: Spelling) -> bool:
    found = _linear_scores(s, int(s.node.attributes.get("targets", 1)))
    return found is not None and s.end()


def _linear_classifier(s: Spelling) -> bool:
    """Scores, and the label of the highest one."""
    numbers = s.node.attributes.get("classlabels_ints", ())
    texts = s.node.attributes.get("classlabels_strings", ())
    count = len(numbers) or len(texts)
    if count < 2 or len(s.node.outputs) != 2:
        return False
    found = _linear_scores(s, count)
    if found is None:
        return False
    label, scores = s.node.outputs
    names = {found: scores}
    if s.work.readers(label) or s.work.pinned(label):
        place = s.add("ArgMax", [found], s.shape[:1], axis=1, keepdims=0)
        labels = s.constant("labels", label_array(numbers, texts))
        names[s.add("Gather", [labels, place], s.shape[:1], axis=0)] = label
        s.work.types[place] = replace(s.work.types[label], dtype="int64")
    return s.end_as(names)


def _way(node: Node) -> Callable[[Spelling], bool] | None:
    """What spells a node out."""
    if node.domain == DOMAIN:
        return _LEARNERS.get(node.op)
    return _WAYS[node.op] if is_op(node, *_WAYS) else None


def _batch_normalization(s: Spelling) -> bool:
    """A factor and a number per channel: one rounding where there are pixels."""
    affine = batch_norm_affine(s.work, s.node)
    if affine is None:
        return False
    scale, shift = (values.astype(np.float32) for values in affine)
    x, spatial = s.node.inputs[0], len(s.shape) - 2
    if spatial not in (1, 2):
        row = (len(scale), *(1 for _ in s.shape[2:]))
        scaled = s.add("Mul", [x, s.constant("scale", scale.reshape(row))], s.shape)
        s.add("Add", [scaled, s.constant("shift", shift.reshape(row))], s.shape)
        return s.end()
    ones = (1,) * spatial
    weight = s.constant("scale", scale.reshape(-1, 1, *ones))
    inputs = [x, weight, s.constant("shift", shift)]
    more = {"kernel_shape": ones, "strides": ones, "dilations": ones, "pads": (0,) * 2 * spatial}
    s.add("Conv", inputs, s.shape, group=len(scale), **more)
    return s.end()


_WAYS = {
    "Add": masked_sum,
    **dict.fromkeys(("AveragePool", "MaxPool"), volume_pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_volume_pool),
    "BatchNormalization": _batch_normalization,
    "Celu": _celu,
    "LpNormalization": _lp_normalization,
    "Pad": _pad,
    **dict.fromkeys(("Sum", "Mean", "Max", "Min"), _several),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"), _reduced),
    "PRelu": _prelu,
    "LogSoftmax": _log_softmax,
    "InstanceNormalization": _instance_normalization,
}

_LEARNERS = {
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "TreeEnsembleClassifier": tree_classifier,
    "TreeEnsembleRegressor": tree_regressor,
}
