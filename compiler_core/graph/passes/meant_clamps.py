"""Which clamps the saturation of a QuantizeLinear stands for.

Quantizers leave out a Relu or a Clip before integers that end where it does: a zero point at the
end of its range says where real values begin, and the scale where they end. Values beyond are the
rule there (half of what a Relu is given, whatever a Clip to 6 cuts off), so both ends stay. With
the zero point elsewhere, the range is what calibration saw, which next to nothing leaves; but where
a sum is as far below 0 as above it, while other ranges of the model are not, a Clip was left out.
"""

from __future__ import annotations

import math

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

LIMITS = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (2, 4, 8, 16)
    for sign in ("", "u")
}
_CODES = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
"""Types that a QuantizeLinear without a zero point may name; 0 where it names none."""

_SUMS = ("Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "Sub")
"""Operators whose values end nowhere by themselves."""


def integer_limits(rewriter: Rewriter, quantize: Node) -> tuple[int, int] | None:
    """The least and the greatest integer that a QuantizeLinear of one zero point gives, less the
    zero point; ``None`` where they are not known."""
    if len(quantize.inputs) < 3 or not quantize.inputs[2]:
        return LIMITS.get(_CODES.get(int(quantize.attributes.get("output_dtype", 0)), ""))
    zeros = rewriter.constant(quantize, 2)
    if zeros is None or not zeros.size or zeros.dtype.name not in LIMITS:
        return None
    zero = int(zeros.reshape(-1)[0])
    low, high = LIMITS[zeros.dtype.name]
    return (low - zero, high - zero) if bool((zeros == zeros.reshape(-1)[0]).all()) else None


def has_uneven_ranges(rewriter: Rewriter) -> bool:
    """Whether ranges of a model begin and end where its values do: more zero points lie somewhere
    than in the middle."""
    even = uneven = 0
    for node in rewriter.nodes():
        if node.op != "QuantizeLinear":
            continue
        limits = integer_limits(rewriter, node)
        if limits is not None and 0 not in limits:
            even, uneven = (even + 1, uneven) if _is_even(limits) else (even, uneven + 1)
    return uneven > even


def meant_clamp(
    rewriter: Rewriter, quantize: Node, *, uneven: bool = False
) -> tuple[float, float] | None:
    """The clamp of real values that a zero point stands for; without an end of its own where scales
    differ by channel or are computed.

    Args:
        rewriter: The model.
        quantize: A QuantizeLinear.
        uneven: Whether the model has uneven ranges, so that an even one says something.
    """
    limits = integer_limits(rewriter, quantize)
    if limits is None:
        return None
    scale, step = rewriter.constant(quantize, 1), math.inf
    if scale is not None and scale.size == 1:
        step = float(scale.reshape(-1)[0])
        step = step if math.isfinite(step) and step > 0 else math.inf
    if 0 in limits:
        return (0.0, limits[1] * step) if limits[0] == 0 else (limits[0] * step, 0.0)
    is_sum = is_op(rewriter.producer(quantize.inputs[0]), *_SUMS)
    if not (uneven and is_sum and _is_even(limits) and math.isfinite(step)):
        return None
    return (limits[0] * step, limits[1] * step)


def _is_even(limits: tuple[int, int]) -> bool:
    return abs(limits[0] + limits[1]) <= 1


def clamp_node(
    rewriter: Rewriter, name: str, source: str, result: str, clamp: tuple[float, float]
) -> Node:
    """Relu or Clip from ``source`` to ``result``, of real values between ``clamp``'s two."""
    if clamp == (0.0, math.inf):
        return Node(name, "Relu", (source,), (result,))
    dtype = rewriter.dtype(source)
    limits = (
        rewriter.add_constant(f"{name}/{side}", np.array(value, dtype))
        if math.isfinite(value)
        else ""
        for side, value in zip(("low", "high"), clamp, strict=True)
    )
    return Node(name, "Clip", (source, *limits), (result,))
