"""Value ranges of the tensors of integer operators: what lets a requantization drop a pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from compiler_core.quantize.blocks import signed_sums
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
)

INT8 = (-128, 127)

Range = tuple[int, int]


def value_ranges(operators: Iterable[IntegerOperator]) -> dict[str, Range]:
    """Smallest and largest value that each tensor can hold, by name.

    Args:
        operators: In topological order; tensors that none of them computes may hold any int8 value
            and are in the result only where they are read.
    """
    ranges: dict[str, Range] = {}
    for operator in operators:
        if isinstance(operator, IntegerConcat):
            parts = [ranges.setdefault(name, INT8) for name in operator.inputs]
            ranges[operator.output] = min(p[0] for p in parts), max(p[1] for p in parts)
            continue
        source = ranges.setdefault(operator.input, INT8)
        if isinstance(operator, IntegerTranspose):
            ranges[operator.output] = source
            continue
        if isinstance(operator, IntegerProduct):
            ranges.setdefault(operator.operand, INT8)
            ranges[operator.output] = operator.clip_min, operator.clip_max
            continue
        if isinstance(operator, IntegerConv):
            if operator.residual is not None:
                ranges.setdefault(operator.residual, INT8)
            source = _accumulators(operator, source, ranges)
        ranges[operator.output] = _clipped(source, operator)
    return ranges


def _clipped(values: Range, operator: IntegerConv | IntegerMaxPool) -> Range:
    low, high = operator.clip_min, operator.clip_max
    return min(max(values[0], low), high), min(max(values[1], low), high)


def _accumulators(operator: IntegerConv, source: Range, ranges: dict[str, Range]) -> Range:
    """Range after the shift; a window that reaches into the padding reads zeros."""
    positive, negative = signed_sums(operator.weight)
    smallest, largest = min(0, source[0]), max(0, source[1])
    shifts = operator.channel_shifts
    if shifts is None:
        shifts = np.full(len(operator.bias), operator.shift, np.int32)
    right = np.maximum(shifts, 0).astype(np.int64)
    left = np.maximum(-shifts, 0).astype(np.int64)
    constants = operator.bias.astype(np.int64) + ((1 << right) >> 1)
    low = positive * smallest + negative * largest + constants
    high = positive * largest + negative * smallest + constants
    if operator.residual is not None:
        added = ranges[operator.residual]
        low = low + (added[0] << operator.residual_shift)
        high = high + (added[1] << operator.residual_shift)
    return int((low >> right << left).min()), int((high >> right << left).max())
