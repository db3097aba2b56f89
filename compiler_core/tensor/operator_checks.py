"""Integer operators of a package against the shapes that its other documents state."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from compiler_core.errors import InputError
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    integers_read,
)
from compiler_core.tensor.workload import Window

Shape = tuple[int, int, int, int]

_NUMBER_MAX = 1 << 16
_BLOCK = 16


def check_operators(
    operators: tuple[IntegerOperator, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: Mapping[str, Shape],
    where: str,
) -> None:
    """Holds every operator to the shapes of its tensors.

    Args:
        operators: In topological order.
        inputs, outputs: Tensors that enter and leave.
        shapes: Shape of every tensor.
        where: What errors call the place.

    Raises:
        InputError: A tensor is unknown, computed twice or of another shape, or a number is out of
            range.
    """
    known = set(inputs)
    for operator in operators:
        place = f"{where}: operator {operator.name!r}"
        for name in integers_read(operator):
            if name not in known or name not in shapes:
                raise InputError(f"{place}: reads {name!r}, which nobody computes")
        if operator.output in known or operator.output not in shapes:
            raise InputError(f"{place}: writes {operator.output!r}, which is no new tensor")
        known.add(operator.output)
        expected = _output_shape(operator, shapes, place)
        if expected != shapes[operator.output]:
            raise InputError(
                f"{place}: gives shape {expected}; {operator.output!r} has "
                f"{shapes[operator.output]}"
            )
    for name in outputs:
        if name not in known:
            raise InputError(f"{where}: nobody computes output {name!r}")


def _group(shape: Shape, groups: int, place: str) -> tuple[int, int]:
    """Channels of a group and pixels: whole blocks of weights both."""
    channels, pixels = shape[1] // max(1, groups), shape[2] * shape[3]
    if groups < 1 or channels * groups != shape[1] or channels % _BLOCK or pixels % _BLOCK:
        raise InputError(
            f"{place}: {groups} groups of shape {shape}; multiples of {_BLOCK} channels in a group "
            "and pixels are needed"
        )
    return channels, pixels


def _product_shape(operator: IntegerProduct, source: Shape, operand: Shape, place: str) -> Shape:
    if not -128 <= operator.clip_min <= operator.clip_max <= 127:
        raise InputError(
            f"{place}: clip {operator.clip_min} to {operator.clip_max}; allowed is what rises "
            "within -128 to 127"
        )
    terms, pixels = _group(operand, operator.groups, place)
    if operand[:2] != source[:2] or terms > _NUMBER_MAX:
        raise InputError(
            f"{place}: multiplies {source} by {operand}; equal samples and channels are needed, at "
            f"most {_NUMBER_MAX} channels in a group"
        )
    return source[0], operator.groups * pixels, *source[2:]


def _interleaved(shape: Shape, operator: IntegerConv, place: str) -> Shape:
    """Shape of phases side by side: whole blocks of channels each, without a residual."""
    size = operator.interleave
    if size == 1:
        return shape
    phases = size * size
    added = operator.residual is not None
    if not 2 <= size <= _NUMBER_MAX or shape[1] % (phases * _BLOCK) or added:
        raise InputError(
            f"{place}: interleaves {shape[1]} channels by {size}{' with a residual' * added}; "
            f"multiples of {_BLOCK} channels for each of its phases are needed, and no residual"
        )
    return shape[0], shape[1] // phases, shape[2] * size, shape[3] * size


def _output_shape(operator: IntegerOperator, shapes: Mapping[str, Shape], place: str) -> Shape:
    if isinstance(operator, IntegerConcat):
        parts = [shapes[name] for name in operator.inputs]
        if not parts or len({(part[0], *part[2:]) for part in parts}) != 1:
            raise InputError(
                f"{place}: concatenates {parts}; shapes that differ in their channels alone are "
                "needed"
            )
        return (parts[0][0], sum(part[1] for part in parts), *parts[0][2:])
    source = shapes[operator.input]
    if isinstance(operator, IntegerProduct):
        return _product_shape(operator, source, shapes[operator.operand], place)
    if isinstance(operator, IntegerTranspose):
        terms, pixels = _group(source, operator.groups, place)
        return source[0], operator.groups * pixels, 1, terms
    kernel = operator.weight.shape[2:] if isinstance(operator, IntegerConv) else operator.kernel
    numbers = (*kernel, *operator.strides, *operator.dilations)
    if not all(1 <= n <= _NUMBER_MAX for n in numbers) or prod(kernel) > _NUMBER_MAX:
        raise InputError(
            f"{place}: kernel, strides and dilations {numbers}; allowed are 1 to {_NUMBER_MAX}, "
            "and as many taps"
        )
    if not all(0 <= pad <= _NUMBER_MAX for pad in operator.pads):
        raise InputError(f"{place}: pads {operator.pads}; allowed are 0 to {_NUMBER_MAX}")
    if not -128 <= operator.clip_min <= operator.clip_max <= 127:
        raise InputError(
            f"{place}: clip {operator.clip_min} to {operator.clip_max}; allowed is what rises "
            "within -128 to 127"
        )
    window = Window((kernel[0], kernel[1]), operator.strides, operator.pads, operator.dilations)
    rows, columns = window.output_size(*source[2:])
    if not isinstance(operator, IntegerConv):
        return source[0], source[1], rows, columns
    results, per_group = operator.weight.shape[:2]
    if per_group * operator.groups != source[1] or results % operator.groups:
        raise InputError(
            f"{place}: weights {operator.weight.shape} in {operator.groups} groups for "
            f"{source[1]} channels"
        )
    shape = _interleaved((source[0], results, rows, columns), operator, place)
    if operator.residual is not None:
        added = shapes[operator.residual]
        same = added[0] == shape[0]
        if not same or any(own not in (1, size) for own, size in zip(added, shape, strict=True)):
            raise InputError(
                f"{place}: residual {operator.residual!r} has shape {added}; {shape} is needed, or "
                "1 in place of channels, rows or columns"
            )
    return shape
