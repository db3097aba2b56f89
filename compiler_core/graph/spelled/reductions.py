"""Reductions that are sums between functions of one element, and rows divided by their length."""

from __future__ import annotations

import numpy as np

from compiler_core.graph.spelled.spelling import Spelling

_AXES_ARE_INPUTS = 18
"""Of ReduceMax and ReduceMean; of ReduceSum since 13."""

_PLAIN = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")


def reduced(s: Spelling) -> bool:
    """ReduceL1, -L2, -SumSquare, -LogSum and -LogSumExp; any reduction over no axis."""
    axes, result = s.node.attributes.get("axes"), s.work.shape(s.node.output)
    if axes is None and len(s.node.inputs) > 1 and s.node.inputs[1]:
        given = s.work.constant(s.node, 1)
        axes = None if given is None else given.ravel().tolist()
        if given is None:
            return False
    if result is None:
        return False
    if not axes and s.node.attributes.get("noop_with_empty_axes"):
        return _of_nothing(s)
    if s.node.op in _PLAIN:
        return False
    keep = int(s.node.attributes.get("keepdims", 1))
    _norm(s, s.node.op, [int(axis) for axis in axes or range(len(s.shape))], result, keep)
    return s.end()


def _of_nothing(s: Spelling) -> bool:
    """What a reduction over no axis makes of each element."""
    x, op = s.node.inputs[0], s.node.op
    if op == "ReduceSumSquare":
        s.add("Mul", [x, x], s.shape)
    elif op in ("ReduceL1", "ReduceL2"):
        s.add("Abs", [x], s.shape)
    else:
        s.add("Log" if op == "ReduceLogSum" else "Identity", [x], s.shape)
    return s.end()


def _norm(s: Spelling, op: str, axes: list[int], result: tuple[int, ...], keep: int) -> str:
    """A sum of absolute values, squares or exponentials, and what is made of it."""
    x, where = s.node.inputs[0], s.constant("axes", np.array(axes, np.int64))
    if op == "ReduceLogSumExp":
        return _log_of_sum(s, x, where, axes, result)
    if op == "ReduceLogSum":
        return s.add("Log", [s.add("ReduceSum", [x, where], result, keepdims=keep)], result)
    parts = s.add("Abs", [x], s.shape) if op == "ReduceL1" else s.add("Mul", [x, x], s.shape)
    total = s.add("ReduceSum", [parts, where], result, keepdims=keep)
    return s.add("Sqrt", [total], result) if op == "ReduceL2" else total


def _log_of_sum(s: Spelling, x: str, where: str, axes: list[int], result: tuple[int, ...]) -> str:
    """The logarithm of a sum of exponentials, none of which is more than 1; infinities stay."""
    reduced = {axis % len(s.shape) for axis in axes}
    rest = tuple(1 if i in reduced else size for i, size in enumerate(s.shape))
    largest = np.finfo(np.float32).max
    most = over(s, "ReduceMax", x, where, axes, rest)
    most = s.add("Max", [most, s.constant("least", -largest)], rest)
    most = s.add("Min", [most, s.constant("largest", largest)], rest)
    powers = s.add("Exp", [s.add("Sub", [x, most], s.shape)], s.shape)
    total = s.add("ReduceSum", [powers, where], rest, keepdims=1)
    found = s.add("Add", [s.add("Log", [total], rest), most], rest)
    shape = s.constant("shape", np.array(result, np.int64))
    return found if result == rest else s.add("Reshape", [found, shape], result)


def over(s: Spelling, op: str, x: str, where: str, axes: list[int], rest: tuple[int, ...]) -> str:
    """A mean or maximum over axes, which stay as ones."""
    if s.opset >= _AXES_ARE_INPUTS:
        return s.add(op, [x, where], rest, keepdims=1)
    return s.add(op, [x], rest, axes=tuple(axes), keepdims=1)


def lp_normalization(s: Spelling) -> bool:
    """LpNormalization of order 1 or 2."""
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    power = int(s.node.attributes.get("p", 2))
    return power in (1, 2) and by_length(s, power, axis)


def by_length(s: Spelling, power: int, axis: int) -> bool:
    """Values divided by the length of their row."""
    rest = tuple(1 if i == axis else size for i, size in enumerate(s.shape))
    size = _norm(s, f"ReduceL{power}", [axis], rest, 1)
    # What has no length stays as it is.
    some = s.add("Max", [size, s.constant("least", np.finfo(np.float32).tiny)], rest)
    s.add("Div", [s.node.inputs[0], some], s.shape)
    return s.end()


def log_softmax(s: Spelling) -> bool:
    """LogSoftmax: less its maximum, less the logarithm of a sum of exponentials."""
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    rest = tuple(1 if i == axis else size for i, size in enumerate(s.shape))
    x, axes = s.node.inputs[0], s.constant("axes", np.array([axis], np.int64))
    most = over(s, "ReduceMax", x, axes, [axis], rest)
    less = s.add("Sub", [x, most], s.shape)
    total = s.add("ReduceSum", [s.add("Exp", [less], s.shape), axes], rest, keepdims=1)
    s.add("Sub", [less, s.add("Log", [total], rest)], s.shape)
    return s.end()


_HARDMAX_OF_ONE_AXIS = 13


def hardmax(s: Spelling) -> bool:
    """Hardmax: one at the first of the largest, else zero."""
    if s.opset < _HARDMAX_OF_ONE_AXIS:
        return False
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    rest = tuple(size for i, size in enumerate(s.shape) if i != axis)
    place = s.add("ArgMax", [s.node.inputs[0]], rest, dtype="int64", axis=axis, keepdims=0)
    depth = s.constant("depth", np.array([s.shape[axis]], np.int64))
    ends = s.constant("ends", np.array([0, 1], np.float32))
    s.add("OneHot", [place, depth, ends], s.shape, axis=axis)
    return s.end()
