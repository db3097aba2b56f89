"""Which operators have ranges that power-of-two scales can express; the others stay in float.

Shifts join any two scales, but a runtime that executes the QDQ model has them as float32 numbers,
and those of the accumulators are products of two. Beyond the limits an operator runs on the CPU,
with the reason, in place of integers that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import frexp

from compiler_core.errors import InputError
from compiler_core.quantize.blocks import largest_magnitude
from compiler_core.quantize.skeleton import INT8_LEVELS, ConvKind, ConvStep, Skeleton, Step
from compiler_core.quantize.statistics import TensorRange

EXPONENT_LIMIT = 100
"""Exponents of tensors and weights stay within ± this."""
_ACCUMULATOR_LIMIT = 120
"""As much for their sums: biases are float32 numbers at the scale of the accumulator."""


class UnfitError(InputError):
    """No scales fit an operator.

    Args:
        message: Why.
        nodes: Of the graph that the operator stands for.
    """

    def __init__(self, message: str, nodes: tuple[str, ...]) -> None:
        super().__init__(message, hint="assign the operator to the CPU")
        self.nodes = nodes


def unbounded_exponent(absmax: float, levels: int = INT8_LEVELS) -> int:
    """The finest exponent at which magnitude ``absmax`` still rounds to at most ``levels``, one
    less than a power of two; 0 for 0."""
    if absmax == 0:
        return 0
    mantissa, power = frexp(absmax)  # absmax = mantissa * 2**power, 0.5 <= mantissa < 1
    bits = levels.bit_length()
    return (bits if mantissa * (levels + 1) <= levels + 0.5 else bits - 1) - power


def require_fitting(skeleton: Skeleton, ranges: Mapping[str, TensorRange]) -> None:
    """Refuses operators whose ranges are beyond what scales can express.

    Args:
        skeleton: The operators.
        ranges: Statistics per tensor.

    Raises:
        UnfitError: Names the nodes of all of them.
    """
    found = [(step, reason) for step in skeleton.steps for reason in _reasons(step, ranges)]
    if found:
        nodes = tuple(dict.fromkeys(name for step, _ in found for name in step.sources))
        raise UnfitError(found[0][1], nodes)


def _reasons(step: Step, ranges: Mapping[str, TensorRange]) -> Iterator[str]:
    """Why ``step`` has no scales."""
    for name in (*step.inputs, step.output):
        if name in ranges and abs(unbounded_exponent(ranges[name].absmax)) > EXPONENT_LIMIT:
            yield (
                f"tensor {name!r} reaches {ranges[name].absmax:.3g}; int8 with power-of-two scales "
                f"holds 2**-{EXPONENT_LIMIT} to 2**{EXPONENT_LIMIT}"
            )
    if not isinstance(step, ConvStep) or step.kind is not ConvKind.WEIGHTS:
        return
    largest = largest_magnitude(step.weight)
    weights = unbounded_exponent(largest, step.levels)
    if abs(weights) > EXPONENT_LIMIT:
        yield f"the weights of {step.name!r} reach {largest:.3g}: no scale in float32 fits them"
    elif step.input in ranges and largest:
        source = ranges[step.input].absmax
        if abs(weights + unbounded_exponent(source)) > _ACCUMULATOR_LIMIT:
            yield (
                f"{step.name!r} multiplies values up to {source:.3g} by weights up to "
                f"{largest:.3g}: no scale in float32 fits their sums"
            )
