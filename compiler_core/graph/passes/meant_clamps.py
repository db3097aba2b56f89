"""Which clamps the saturation of a QuantizeLinear stands for.

Quantizers leave out a Relu or a Clip before integers that end where it does: a zero point at the
end of its range says where real values begin, and the scale where they end. Values beyond are the
rule there (half of what a Relu is given, whatever a Clip to 6 cuts off), so both ends stay. With
the zero point elsewhere, the range is what calibration saw, which next to nothing leaves.
"""

from __future__ import annotations

import math

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter

_LIMITS = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (2, 4, 8, 16)
    for sign in ("", "u")
}
_CODES = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
"""Types that a QuantizeLinear without a zero point may name; 0 where it names none."""


def integer_limits(rewriter: Rewriter, quantize: Node) -> tuple[int, int] | None:
    """The least and the greatest integer that a QuantizeLinear of one zero point gives, less the
    zero point; ``None`` where they are not known."""
    if len(quantize.inputs) < 3 or not quantize.inputs[2]:
        return _LIMITS.get(_CODES.get(int(quantize.attributes.get("output_dtype", 0)), ""))
    zeros = rewriter.constant(quantize, 2)
    if zeros is None or not zeros.size or zeros.dtype.name not in _LIMITS:
        return None
    zero = int(zeros.reshape(-1)[0])
    low, high = _LIMITS[zeros.dtype.name]
    return (low - zero, high - zero) if bool((zeros == zeros.reshape(-1)[0]).all()) else None


def meant_clamp(rewriter: Rewriter, quantize: Node) -> tuple[float, float] | None:
    """The clamp of real values that a zero point at an end of its range stands for; without an end
    of its own where scales differ by channel or are computed."""
    limits = integer_limits(rewriter, quantize)
    if limits is None or 0 not in limits:
        return None
    scale = rewriter.constant(quantize, 1)
    step = math.inf
    if scale is not None and scale.size == 1:
        step = float(scale.reshape(-1)[0])
        step = step if math.isfinite(step) and step > 0 else math.inf
    return (0.0, limits[1] * step) if limits[0] == 0 else (limits[0] * step, 0.0)


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
