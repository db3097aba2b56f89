"""Functions of one tensor, element by element: whole expressions become one table of 256 entries.

GELU written with Tanh, Pow, Mul and Add reads one tensor and constants of one element; in int8 that
is a table, whatever the expression. Tables are computed in float64 from the definitions of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import erf, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, as_text
from compiler_core.units.cpu.c.arithmetic.pointwise import WIDE_STEP, between_entries
from compiler_core.units.cpu.c.convert.builder import Refusal
from compiler_core.units.cpu.c.network import Type

Doubles = npt.NDArray[np.float64]
Steps = tuple[tuple[str, float, float], ...]
Attributes = Mapping[str, Any]

_ERF = np.vectorize(erf, otypes=[np.float64])
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
_LARGE = 3.0e38

_MOST_OFF = 16
"""Steps of 16 bits that a table may be off where lines stand for the function: 1/4096 of it."""


def _sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-x)))


_GELUS = {"none": "gelu", "tanh": "gelu_tanh"}


def _approximated(attributes: Attributes) -> str:
    name = as_text(attributes.get("approximate", "none"))
    if name not in _GELUS:
        raise Refusal(f"its approximation is {name!r}")
    return _GELUS[name]


def _gelu(x: Doubles, attributes: Attributes) -> Doubles:
    if _approximated(attributes) == "gelu_tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x))))
    return np.asarray(0.5 * x * (1 + _ERF(x / np.sqrt(2))))


def _number(attributes: Attributes, name: str, default: float) -> float:
    return float(attributes.get(name, default))


@dataclass(frozen=True)
class _Unary:
    """An operator of one input: its definition, and its steps in float32."""

    define: Callable[[Doubles, Attributes], Any]
    steps: Callable[[Attributes], Steps] | None = None


def _plain(name: str) -> Callable[[Attributes], Steps]:
    return lambda _attributes: ((name, 0.0, 0.0),)


def _shrink(x: Doubles, attributes: Attributes) -> Doubles:
    bias, bound = _number(attributes, "bias", 0), _number(attributes, "lambd", 0.5)
    return np.where(x < -bound, x + bias, np.where(x > bound, x - bias, 0.0))


def _hard(x: Doubles, attributes: Attributes) -> Doubles:
    alpha, beta = _number(attributes, "alpha", 0.2), _number(attributes, "beta", 0.5)
    return np.clip(alpha * x + beta, 0, 1)


_UNARY: dict[str, _Unary] = {
    "Abs": _Unary(lambda x, _: np.abs(x), _plain("abs")),
    "Atan": _Unary(lambda x, _: np.arctan(x), _plain("atan")),
    "Ceil": _Unary(lambda x, _: np.ceil(x), _plain("ceil")),
    "Elu": _Unary(
        lambda x, at: np.where(x < 0, _number(at, "alpha", 1) * np.expm1(np.minimum(x, 0)), x),
        lambda at: (("elu", _number(at, "alpha", 1), 0.0),),
    ),
    "Erf": _Unary(lambda x, _: _ERF(x), _plain("erf")),
    "Exp": _Unary(lambda x, _: np.exp(x), _plain("exp")),
    "Floor": _Unary(lambda x, _: np.floor(x), _plain("floor")),
    "Gelu": _Unary(
        _gelu,
        lambda at: ((_approximated(at), 0.0, 0.0),),
    ),
    "HardSigmoid": _Unary(
        _hard, lambda at: (("hard_sigmoid", _number(at, "alpha", 0.2), _number(at, "beta", 0.5)),)
    ),
    "HardSwish": _Unary(
        lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1), lambda _: (("hard_swish", 1 / 6, 0.5),)
    ),
    "Identity": _Unary(lambda x, _: x, lambda _: (("affine", 1.0, 0.0),)),
    "LeakyRelu": _Unary(
        lambda x, at: np.where(x < 0, _number(at, "alpha", 0.01) * x, x),
        lambda at: (("leaky", _number(at, "alpha", 0.01), 0.0),),
    ),
    "Log": _Unary(lambda x, _: np.log(x), _plain("log")),
    "Mish": _Unary(lambda x, _: x * np.tanh(np.logaddexp(0, x)), _plain("mish")),
    "Neg": _Unary(lambda x, _: -x, lambda _: (("affine", -1.0, 0.0),)),
    "Reciprocal": _Unary(lambda x, _: 1 / x, _plain("reciprocal")),
    "Relu": _Unary(lambda x, _: np.maximum(x, 0), lambda _: (("clamp", 0.0, _LARGE),)),
    "Round": _Unary(lambda x, _: np.rint(x), _plain("round")),
    "Selu": _Unary(
        lambda x, at: (
            _number(at, "gamma", _SELU_GAMMA)
            * np.where(x < 0, _number(at, "alpha", _SELU_ALPHA) * np.expm1(np.minimum(x, 0)), x)
        ),
        lambda at: (
            ("elu", _number(at, "alpha", _SELU_ALPHA), 0.0),
            ("affine", _number(at, "gamma", _SELU_GAMMA), 0.0),
        ),
    ),
    "Shrink": _Unary(
        _shrink, lambda at: (("shrink", _number(at, "bias", 0), _number(at, "lambd", 0.5)),)
    ),
    "Sigmoid": _Unary(lambda x, _: _sigmoid(x), _plain("sigmoid")),
    "Sign": _Unary(lambda x, _: np.sign(x), _plain("sign")),
    "Sin": _Unary(lambda x, _: np.sin(x), _plain("sin")),
    "Cos": _Unary(lambda x, _: np.cos(x), _plain("cos")),
    "Softplus": _Unary(lambda x, _: np.logaddexp(0, x), _plain("softplus")),
    "Softsign": _Unary(lambda x, _: x / (1 + np.abs(x)), _plain("softsign")),
    "Sqrt": _Unary(lambda x, _: np.sqrt(x), _plain("sqrt")),
    "Swish": _Unary(
        lambda x, at: x * _sigmoid(_number(at, "alpha", 1) * x),
        lambda at: (("swish", _number(at, "alpha", 1), 0.0),),
    ),
    "Tanh": _Unary(lambda x, _: np.tanh(x), _plain("tanh")),
    "ThresholdedRelu": _Unary(
        lambda x, at: np.where(x > _number(at, "alpha", 1), x, 0),
        lambda at: (("thresholded", _number(at, "alpha", 1), 0.0),),
    ),
}

_BINARY: dict[str, Callable[[Doubles, Doubles], Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "PRelu": lambda x, slope: np.where(x < 0, slope * x, x),
    "Pow": np.power,
    "Sub": np.subtract,
}


@dataclass(frozen=True)
class MapSteps:
    """A node as functions of one element in float32.

    Attributes:
        source: The tensor that it reads.
        maps: Name in :data:`~…arithmetic.real.MAPS` and its two parameters, in order.
    """

    source: str
    maps: Steps


class Functions:
    """Tensors of a graph that are a function of one other tensor.

    Args:
        graph: Simplified.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._roots: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        for node in graph.nodes:
            root = self._root_of(node)
            if root is not None:
                self._roots[node.output] = root
                self._nodes[node.output] = node

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._roots

    def root(self, tensor: str) -> str:
        """The tensor that it is a function of."""
        return self._roots[tensor]

    def _root_of(self, node: Node) -> str | None:
        if node.domain or node.opaque or len(node.outputs) != 1:
            return None
        if node.op not in _UNARY and node.op not in (*_BINARY, "Clip"):
            return None
        reads = [name for name in node.inputs if name and not self._is_number(name)]
        if not reads or (node.op == "Clip" and reads != [node.inputs[0]]):
            return None
        roots = {self._roots.get(name, name) for name in reads}
        types = [self._graph.types.get(name) for name in (node.output, *roots)]
        same = len({(t.dtype, t.shape) if t else None for t in types}) == 1
        if len(roots) != 1 or not same or types[0] is None or types[0].dtype != "float32":
            return None
        root = roots.pop()
        return None if root in self._graph.constants else root

    def _is_number(self, name: str) -> bool:
        array = self._graph.constants.get(name)
        return array is not None and array.size == 1 and array.dtype == np.float32

    def table(self, tensor: str, source: Type, result: Type) -> npt.NDArray[np.int8]:
        """``int8[256]``: the result's integers for −128 … 127 of the root.

        Raises:
            Refusal: The root is not int8.
        """
        if source.dtype != "int8" or result.dtype != "int8":
            raise Refusal("tables are for int8")
        integers = np.arange(-128, 128)
        x: Doubles = np.asarray((integers - source.zero_point) * float(source.scale), np.float64)
        with np.errstate(all="ignore"):
            y = self._evaluate(tensor, {self._roots[tensor]: x})
            whole = np.rint(y / result.scale) + result.zero_point
        # What is undefined at a value (the logarithm of 0) saturates; NaN becomes zero.
        whole = np.nan_to_num(whole, nan=result.zero_point, posinf=127, neginf=-128)
        return np.asarray(np.clip(whole, -128, 127), np.int8)

    def wide_table(self, tensor: str, source: Type, result: Type) -> npt.NDArray[np.int16]:
        """``int16[513]``: see :class:`~…operators.pointwise.WideTable`.

        Raises:
            Refusal: Straight lines between the entries are too far from the function.
        """
        integers = np.arange(-(1 << 15), (1 << 15) + 1)
        with np.errstate(all="ignore"):
            x: Doubles = np.asarray(integers * float(source.scale), np.float64)
            y = self._evaluate(tensor, {self._roots[tensor]: x})
            whole = np.rint(np.broadcast_to(y, integers.shape) / result.scale)
        low, high = result.limits
        whole = np.clip(np.nan_to_num(whole, nan=0, posinf=high, neginf=low), low, high)
        entries = whole[:: 1 << WIDE_STEP].astype(np.int16)
        off = np.abs(between_entries(integers[:-1], entries) - whole[:-1]).max()
        if off > _MOST_OFF:
            raise Refusal(f"a table of {len(entries)} entries is up to {off:.0f} steps off")
        return np.asarray(entries, np.int16)

    def _evaluate(self, tensor: str, known: dict[str, Doubles]) -> Doubles:
        pending = [tensor]
        while pending:
            name = pending[-1]
            node = None if name in known else self._nodes[name]
            missing = [
                item
                for item in (node.inputs if node else ())
                if item and item not in known and not self._is_number(item)
            ]
            if missing:
                pending += missing
                continue
            pending.pop()
            if node is not None:
                known[name] = self._value(node, known)
        return known[tensor]

    def _value(self, node: Node, known: Mapping[str, Doubles]) -> Doubles:
        operands = [
            known[name] if name in known else np.float64(self._graph.constants[name].item())
            for name in node.inputs
            if name
        ]
        if node.op in _UNARY:
            found = _UNARY[node.op].define(np.asarray(operands[0]), node.attributes)
        elif node.op == "Clip":
            low, high = self._limits(node)
            found = np.clip(operands[0], low, high)
        else:
            found = operands[0]
            for other in operands[1:]:
                found = _BINARY[node.op](np.asarray(found), np.asarray(other))
        if node.clip is not None:
            found = np.clip(found, *node.clip)
        return np.asarray(found, np.float64)

    def _limits(self, node: Node) -> tuple[float, float]:
        names = (*node.inputs, "", "")[1:3]
        low, high = (
            float(self._graph.constants[name].item()) if name else limit
            for name, limit in zip(names, (-_LARGE, _LARGE), strict=True)
        )
        return low, high

    def steps(self, node: Node) -> MapSteps | None:
        """A node as float32 functions of one element; ``None`` where it reads two tensors, or is a
        power that only a function of two raises.

        Raises:
            Refusal: It has no kernel.
        """
        reads = [name for name in node.inputs if name and not self._is_number(name)]
        if len(node.inputs) == 2 and len(reads) == 2:
            return None
        found = self._steps(node)
        if not found and node.op == "Pow" and reads == [node.inputs[0]]:
            return None
        if not found or len(reads) != 1:
            raise Refusal("it has no float32 kernel")
        if node.clip is not None:
            found = (*found, ("clamp", max(node.clip[0], -_LARGE), min(node.clip[1], _LARGE)))
        return MapSteps(reads[0], found)

    def _steps(self, node: Node) -> Steps:
        if node.op == "Clip":
            return (("clamp", *self._limits(node)),)
        if node.op in _UNARY:
            steps = _UNARY[node.op].steps
            return steps(node.attributes) if steps else ()
        if len(node.inputs) != 2:
            return ()
        first = self._graph.constants.get(node.inputs[0])
        number = first if first is not None else self._graph.constants[node.inputs[1]]
        return _with_number(node.op, float(number.item()), leads=first is not None)


def _with_number(op: str, number: float, *, leads: bool) -> Steps:
    """Steps of an operator of a tensor and one number, which may lead."""
    if not isfinite(number):
        return ()
    if op == "Add":
        return (("affine", 1.0, number),)
    if op == "Mul":
        return (("affine", number, 0.0),)
    if op == "Sub":
        return (("affine", -1.0, number),) if leads else (("affine", 1.0, -number),)
    if op == "Div" and leads:
        return (("reciprocal", 0.0, 0.0), ("affine", number, 0.0))
    if op == "Div":
        return (("affine", 1.0 / number, 0.0),) if number else ()
    if op in ("Min", "Max"):
        limits = (-_LARGE, number) if op == "Min" else (number, _LARGE)
        return (("clamp", *limits),)
    if op == "PRelu" and not leads:
        return (("leaky", number, 0.0),)
    if op == "Pow" and not leads:
        return _power(number)
    return ()


def _power(exponent: float) -> Steps:
    if exponent == int(exponent) and 1 <= exponent <= 8:
        return (("power", exponent, 0.0),)
    if exponent == 0.5:
        return (("sqrt", 0.0, 0.0),)
    if exponent == -1:
        return (("reciprocal", 0.0, 0.0),)
    if exponent == -0.5:
        return (("sqrt", 0.0, 0.0), ("reciprocal", 0.0, 0.0))
    if exponent == int(exponent):
        whole = -8 <= exponent < -1
        return (("power", -exponent, 0.0), ("reciprocal", 0.0, 0.0)) if whole else ()
    return (("log", 0.0, 0.0), ("affine", exponent, 0.0), ("exp", 0.0, 0.0))
