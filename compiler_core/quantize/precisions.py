"""Number formats in which the CPU runs single operators, by their names in plans.

| name behind ``cpu:`` | meaning |
|---|---|
| ``u8``, ``s8``, ``u16`` | activations that a scale and a zero point say, of operators without \
weights |
| ``u8j``, ``s8j`` | a concatenation whose inputs have the scale of its output, so that it copies |
| ``u8s8t``, ``u8s8c``, ``s8s8t`` … | the same with int8 (``s8``) or uint8 weights, that share a \
scale per tensor (``t``) or per output channel (``c``) |
| ``u8s7c``, ``u8s7t`` | int8 weights of 7 bits: no sum of two products saturates 16 bits |
| ``d8t``, ``d8c`` | activations become uint8 as they come, int8 weights |
| ``w4b32`` | float activations, weights of 4 bits (or 8) in blocks of 32; behind it ``z``: with \
zero points, ``e``: scales of least error, ``g``: rounded by GPTQ, ``l4``: sums in int8 |
| ``f16`` | half precision |

Which of them an operator can have is said by its kind and its constants; what they are worth, the
clock says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import product

import numpy as np

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS, clip_limits
from compiler_core.quantize.cpu_integers import WEIGHTED, float_reason
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU, CPU_INT8, is_on_cpu

SAME_VALUES = (
    *(*VIEW_OPERATORS, "MaxPool", "Slice", "Split", "Gather", "GatherElements", "Expand", "Tile"),
    *("Resize", "ReduceMax", "ReduceMin"),
)
"""Operators that write values which they read, or between such: integers pass through them."""

INTEGER_KERNELS = (
    *("Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "LeakyRelu"),
    *("Softmax", "MatMul"),
)
"""Other operators without weights of which onnxruntime has integer kernels."""

CLAMPS = ("Relu", "Clip")
"""Operators that a runtime drops where the integers behind them hold nothing beyond the limits."""

_WITHIN = ("nearest", "linear", b"nearest", b"linear")
"""Interpolations that stay between the values that they read."""

BLOCKS = (16, 32, 64, 128, 256)
_DYNAMIC_OPSET = 11
_ACTIVATIONS = {"u8": "uint8", "s8": "int8", "u16": "uint16"}
_WEIGHTS = {"s8": "int8", "s7": "int8", "u8": "uint8"}
_STATIC = re.compile(r"(u8|s8|u16)(?:(s8|s7|u8)([tc])|(j))?")
_DYNAMIC = re.compile(r"d8([tc])")
_WEIGHT_ONLY = re.compile(r"w([48])b([0-9]{2,3})(z?)([eg]?)(?:l([0-4]))?")


class Rounding(Enum):
    """How weights in blocks are rounded."""

    NEAREST = ""
    ERROR = "e"
    """To the scale of least squared error."""
    GPTQ = "g"
    """Each takes back the rounding errors of others, over calibration samples."""


@dataclass(frozen=True)
class Static:
    """Integers by scales that calibration found.

    Attributes:
        activations: ``uint8``, ``int8`` or ``uint16``.
        weights: ``int8``, ``uint8``, or empty for operators without.
        per_channel: Whether weights have a scale per output channel.
        narrow: Whether weights have 7 bits, so that kernels that add two products in 16 bits do
            not saturate.
        joined: Whether a concatenation reads what it joins in the scale of what it writes.
    """

    activations: str
    weights: str = ""
    per_channel: bool = False
    narrow: bool = False
    joined: bool = False


@dataclass(frozen=True)
class Dynamic:
    """int8 weights; activations become uint8 by what they hold."""

    per_channel: bool


@dataclass(frozen=True)
class WeightOnly:
    """Weights in blocks of few bits beside float activations.

    Attributes:
        bits: 4 or 8.
        block: Weights of one output that share a scale.
        zero_points: Whether a block has one of its own; else the middle is 0.
        rounding: How they are rounded.
        level: Accuracy of the sums, as onnxruntime numbers it: 0 by default, 4 is int8.
    """

    bits: int
    block: int
    zero_points: bool = False
    rounding: Rounding = Rounding.NEAREST
    level: int = 0


@dataclass(frozen=True)
class Half:
    """float16."""


Precision = Static | Dynamic | WeightOnly | Half


@lru_cache(maxsize=1024)
def precision_of(place: str) -> Precision | None:
    """The format of a place; ``None`` for float32 and for other units.

    Raises:
        InputError: It is a place of the CPU in a format that does not exist.
    """
    if not is_on_cpu(place) or place in (CPU, CPU_INT8):
        return None
    text = place.removeprefix(f"{CPU}:")
    if found := _STATIC.fullmatch(text):
        kind, weights, grain, joined = found.groups()
        form = _ACTIVATIONS[kind], _WEIGHTS.get(weights, ""), grain == "c"
        return Static(*form, weights == "s7", bool(joined))
    if found := _DYNAMIC.fullmatch(text):
        return Dynamic(found[1] == "c")
    if (found := _WEIGHT_ONLY.fullmatch(text)) and int(found[2]) in BLOCKS:
        bits, block, zero, rounding, level = found.groups()
        return WeightOnly(int(bits), int(block), bool(zero), Rounding(rounding), int(level or 0))
    if text == "f16":
        return Half()
    raise InputError(
        f"plan: place {place!r} is no number format of the CPU; allowed are {CPU!r} and, behind "
        f"{CPU + ':'!r}, f16, u8, u8s8c, s8s8t, u16s8c, d8c, w4b32, w8b64zl4 and the like",
        hint="nest-tune plan best MODEL --target host --calibration F finds formats",
    )


def with_rounding(place: str, rounding: Rounding) -> str:
    """A place whose weights in blocks are rounded in some way; others as they are.

    How weights are rounded changes no time.
    """
    found = precision_of(place)
    if not isinstance(found, WeightOnly):
        return place
    zero, level = "z" * found.zero_points, f"l{found.level}" if found.level else ""
    return f"{CPU}:w{found.bits}b{found.block}{zero}{rounding.value}{level}"


def with_narrow_weights(place: str) -> str:
    """A place whose int8 weights have 7 bits beside uint8 activations; others as they are.

    It takes no other time.
    """
    found = precision_of(place)
    if isinstance(found, Static) and (found.activations, found.weights) == ("uint8", "int8"):
        return f"{CPU}:u8s7{'c' if found.per_channel else 't'}"
    return place


def timed_as(place: str) -> str:
    """The place under which the time of a place is known."""
    found = precision_of(place)
    if isinstance(found, Static) and found.narrow:
        return place.replace("s7", "s8")
    return with_rounding(place, Rounding.NEAREST)


def is_fitted(precision: object) -> bool:
    """Whether weights in a precision are fitted to samples, so that others have to judge them."""
    return isinstance(precision, WeightOnly) and precision.rounding is Rounding.GPTQ


def precisions_of(assignment: Mapping[str, str]) -> dict[str, Precision]:
    """Nodes of an assignment that have a number format of the CPU.

    Raises:
        InputError: As :func:`precision_of`.
    """
    found = {name: precision_of(place) for name, place in assignment.items()}
    return {name: precision for name, precision in found.items() if precision is not None}


def has_weights(graph: Graph, node: Node) -> bool:
    """Whether a node multiplies with constant weights."""
    return node.op in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] in graph.constants


def refusal(
    graph: Graph, node: Node, precision: Precision, ranges: Mapping[str, TensorRange]
) -> str | None:
    """Why a node cannot compute in a format; ``None`` where it can."""
    if has_weights(graph, node):
        known = ranges
        if not isinstance(precision, Static):  # which need no statistics
            known = dict.fromkeys((*node.inputs, *node.outputs), TensorRange(0.0, 0.0))
        reason = float_reason(graph, node, known)
        if reason is not None:
            return reason
        if isinstance(precision, Static):
            return None if precision.weights else "It has weights: their format is missing."
        if isinstance(precision, Half):
            return None
        if node.op == "Conv":
            return "Only matrix products have weights in blocks or scales found as they run."
        if isinstance(precision, Dynamic) and graph.opsets.get("", 13) < _DYNAMIC_OPSET:
            return f"The model's operator set is older than {_DYNAMIC_OPSET}."
        return None
    if not isinstance(precision, Static) or precision.weights:
        return "It has no weights."
    return _without_weights(graph, node, precision, ranges)


def _without_weights(
    graph: Graph, node: Node, precision: Static, ranges: Mapping[str, TensorRange]
) -> str | None:
    same = node.op in SAME_VALUES
    if precision.joined and node.op != "Concat":
        return "Only concatenations join scales."
    clamps = node.op in CLAMPS
    if clamps and clip_limits(graph, node) is None:
        return "Its limits are not constant."
    if not (same or clamps) and (node.op not in INTEGER_KERNELS or node.domain):
        return f"onnxruntime has no integer kernel of {node.op}."
    if precision.activations == "uint16":
        return f"onnxruntime has no kernel of {node.op} on 16-bit integers."
    if node.op == "Resize" and node.attributes.get("mode", "nearest") not in _WITHIN:
        return "Its interpolation leaves the range of what it reads."
    if same and node.clip is not None and not _holds(node.clip, ranges.get(node.inputs[0])):
        return "It clamps what passes through it."
    read = node.inputs[:1] if same or clamps else tuple(filter(None, node.inputs))
    for name in (*read, *filter(None, node.outputs)):
        if name in graph.constants:
            value = graph.constants[name]
            if same or value.dtype != np.float32 or not np.isfinite(value).all():
                return f"{name!r} is constant."
        elif name not in ranges or not ranges[name].bounded:
            return f"There are no statistics of {name!r}, or they are not finite."
    return None


def _holds(limits: tuple[float, float], known: TensorRange | None) -> bool:
    """Whether a clamp takes nothing from values."""
    return known is not None and limits[0] <= known.low and known.high <= limits[1]


def candidates(
    graph: Graph, node: Node, ranges: Mapping[str, TensorRange]
) -> Iterator[tuple[str, Precision]]:
    """Every place that a node can have beside float32, with its format, simplest first."""
    for name in _names(graph, node):
        place = f"{CPU}:{name}"
        precision = precision_of(place)
        assert precision is not None
        if refusal(graph, node, precision, ranges) is None:
            yield place, precision


def _names(graph: Graph, node: Node) -> Iterator[str]:
    if not has_weights(graph, node):
        if node.op == "Concat":
            yield from ("u8j", "s8j")
            if _all_end_in(graph, node):
                return  # scales of their own lose more, and cost more
        yield from ("u8", "s8")
        return
    yield from (kind + grain for kind, grain in product(("u8s8", "s8s8", "u8u8"), "ct"))
    yield from ("u16s8c", "f16")
    if node.op == "Conv":
        return
    yield from ("d8c", "d8t")
    weight = graph.constants[node.inputs[1]]
    length = weight.shape[0] if node.op != "Gemm" else max(weight.shape)
    for bits, block in product((8, 4), BLOCKS):
        if block == BLOCKS[0] or block <= length:
            for zero, level in product(("", "z"), ("", "l4")):
                yield f"w{bits}b{block}{zero}{level}"


def _all_end_in(graph: Graph, node: Node) -> bool:
    """Whether nobody else reads what a node reads."""
    return all(
        len(graph.consumers(name)) == 1 and name not in graph.outputs
        for name in node.inputs
        if name not in graph.constants
    )
