"""Functions of single elements, of one tensor or of several."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np

from compiler_core.graph.passes.identities import is_inference
from compiler_core.graph.spelled.spelling import Spelling

_FLOAT, _BOOL = 1, 9
LARGE = 1e30
"""Of what stands for an infinity in sources."""
_LARGEST = np.finfo(np.float32).max


def slopes(s: Spelling) -> bool:
    """PRelu with a slope per channel."""
    slope = s.work.constant(s.node, 1)
    if slope is None or slope.size == 1:
        return False
    x = s.node.inputs[0]
    above = s.add("Relu", [x], s.shape)
    below = s.add("Min", [x, s.constant("zero", np.zeros((), np.float32))], s.shape)
    scaled = s.add("Mul", [below, s.node.inputs[1]], s.shape)
    s.add("Add", [above, scaled], s.shape)
    return s.end()


def several(s: Spelling) -> bool:
    """Sum, Mean, Max and Min of any number of tensors."""
    op, inputs = s.node.op, s.node.inputs
    pair = {"Sum": "Add", "Mean": "Add"}.get(op, op)
    result = s.work.shape(s.node.output)
    if result is None or (pair == op and len(inputs) == 2):
        return False
    if len(inputs) == 1:
        s.add("Identity", [inputs[0]], s.shape)
        return s.end()
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


def celu(s: Spelling) -> bool:
    """Celu: Elu between two factors."""
    alpha = np.float32(s.node.attributes.get("alpha", 1.0))
    scaled = s.add("Div", [s.node.inputs[0], s.constant("alpha", alpha)], s.shape)
    found = s.add("Elu", [scaled], s.shape, alpha=1.0)
    s.add("Mul", [found, s.constant("alpha", alpha)], s.shape)
    return s.end()


class _Formula:
    """Writes functions of one element.

    Args:
        s: Of the node.
    """

    def __init__(self, s: Spelling) -> None:
        self._s = s
        self.x = s.node.inputs[0]

    def one(self, op: str, x: str) -> str:
        """A function of one element."""
        return self._s.add(op, [x], self._s.shape)

    def two(self, op: str, a: str | float, b: str | float) -> str:
        """A function of two elements, one of which may be a number."""
        names = [
            v if isinstance(v, str) else self._s.constant("number", np.float32(v)) for v in (a, b)
        ]
        return self._s.add(op, names, self._s.shape)


def _tan(f: _Formula) -> None:
    f.two("Div", f.one("Sin", f.x), f.one("Cos", f.x))


def _sinh(f: _Formula) -> None:
    power = f.one("Exp", f.x)
    f.two("Mul", f.two("Sub", power, f.two("Div", 1.0, power)), 0.5)


def _cosh(f: _Formula) -> None:
    power = f.one("Exp", f.x)
    f.two("Mul", f.two("Add", power, f.two("Div", 1.0, power)), 0.5)


def _arc(f: _Formula) -> str:
    """The angle of a sine."""
    rest = f.two("Mul", f.two("Sub", 1.0, f.x), f.two("Add", 1.0, f.x))
    return f.one("Atan", f.two("Div", f.x, f.one("Sqrt", rest)))


def _asin(f: _Formula) -> None:
    _arc(f)


def _acos(f: _Formula) -> None:
    f.two("Sub", pi / 2, _arc(f))


def _asinh(f: _Formula) -> None:
    size = f.one("Abs", f.x)
    root = f.one("Sqrt", f.two("Add", f.two("Mul", f.x, f.x), 1.0))
    f.two("Mul", f.one("Sign", f.x), f.one("Log", f.two("Add", size, root)))


def _acosh(f: _Formula) -> None:
    root = f.one("Sqrt", f.two("Mul", f.two("Sub", f.x, 1.0), f.two("Add", f.x, 1.0)))
    f.one("Log", f.two("Add", f.x, root))


def _atanh(f: _Formula) -> None:
    ratio = f.two("Div", f.two("Add", 1.0, f.x), f.two("Sub", 1.0, f.x))
    f.two("Mul", f.one("Log", ratio), 0.5)


FORMULAS: dict[str, Callable[[_Formula], object]] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Sinh": _sinh,
    "Tan": _tan,
}
"""What a function of angles is made of."""


def formula(s: Spelling) -> bool:
    """A function of :data:`FORMULAS`."""
    FORMULAS[s.node.op](_Formula(s))
    return s.end()


def is_nan(s: Spelling) -> bool:
    """IsNaN: what does not equal itself."""
    same = s.add("Equal", [s.node.inputs[0]] * 2, s.shape, dtype="bool")
    s.add("Not", [same], s.shape, dtype="bool")
    return s.end()


def is_infinite(s: Spelling) -> bool:
    """IsInf, of either sign or of one."""
    known, x = s.node.attributes, s.node.inputs[0]
    largest = s.constant("largest", np.float32(_LARGEST))
    if known.get("detect_negative", 1) and known.get("detect_positive", 1):
        x = s.add("Abs", [x], s.shape)
    elif known.get("detect_negative", 1):
        x = s.add("Neg", [x], s.shape)
    elif not known.get("detect_positive", 1):
        return False
    s.add("Greater", [x, largest], s.shape, dtype="bool")
    return s.end()


def binarized(s: Spelling) -> bool:
    """Binarizer: 1 above a threshold, else 0."""
    threshold = s.constant("threshold", np.float32(s.node.attributes.get("threshold", 0.0)))
    above = s.add("Greater", [s.node.inputs[0], threshold], s.shape, dtype="bool")
    s.add("Cast", [above], s.shape, to=_FLOAT)
    return s.end()


def to_truth(s: Spelling) -> bool:
    """Cast to bool: what is not zero."""
    x = s.node.inputs[0]
    if s.node.attributes.get("to") != _BOOL or s.work.dtype(x) in (None, "bool", "string"):
        return False
    zero = s.constant("zero", np.zeros((), np.dtype(s.work.dtype(x))))
    same = s.add("Equal", [x, zero], s.shape, dtype="bool")
    s.add("Not", [same], s.shape, dtype="bool")
    return s.end()


def without_dropping(s: Spelling) -> bool:
    """Dropout of inference: the same, and a mask that drops nothing."""
    if not is_inference(s.work, s.node):
        return False
    same = s.add("Identity", [s.node.inputs[0]], s.shape)
    if len(s.node.outputs) < 2:
        return s.end()
    every = s.constant("every", np.ones(s.shape, np.bool_))
    mask = s.add("Identity", [every], s.shape, dtype="bool")
    return s.end_as({same: s.node.outputs[0], mask: s.node.outputs[1]})


def infinite(s: Spelling) -> bool:
    """Equal to an infinity, which constants of sources hold as a large number: what is beyond."""
    inputs = s.node.inputs
    held = [place for place in (0, 1) if s.work.constant(s.node, place) is not None]
    result = s.work.shape(s.node.output)
    if len(held) != 1 or len(inputs) != 2 or result is None:
        return False
    array = s.work.constants[inputs[held[0]]]
    for end, op in ((-np.inf, "LessOrEqual"), (np.inf, "GreaterOrEqual")):
        if array.dtype == np.float32 and (array == end).all():
            beyond = s.constant("beyond", np.float32(np.sign(end) * LARGE))
            s.add(op, [inputs[1 - held[0]], beyond], result, dtype="bool")
            return s.end()
    return False


def power(s: Spelling) -> bool:
    """Pow of a positive number: an exponential; by whole numbers: by real ones."""
    base, result = s.work.constant(s.node, 0), s.work.shape(s.node.output)
    whole = s.work.constant(s.node, 1)
    if whole is not None and whole.dtype.kind in "iu" and result is not None:
        exponents = whole.astype(np.float32)
        if (exponents == whole).all():
            s.add("Pow", [s.node.inputs[0], s.constant("exponents", exponents)], result)
            return s.end()
    if base is None or base.size != 1 or not 0 < float(base.item()) < np.inf or result is None:
        return False
    if s.work.dtype(s.node.inputs[1]) != "float32":
        return False
    factor = s.constant("factor", np.float32(np.log(float(base.item()))))
    s.add("Exp", [s.add("Mul", [s.node.inputs[1], factor], result)], result)
    return s.end()
