"""Integer operators of a segment as ``operators.json`` and the bytes of ``operators.bin``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler_core.errors import InputError
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    integers_read,
)

OPERATORS_SCHEMA = "nest-tune/operators/1"
_INPUTS = {"conv": 1, "max_pool": 1, "transpose": 1, "product": 2}


@dataclass(frozen=True)
class OperatorEntry:
    """An integer operator; its ``…_offset`` numbers point into ``operators.bin``."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    sources: tuple[str, ...]
    numbers: Mapping[str, int]
    shape: tuple[int, ...] = ()
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    residual: str | None = None


@dataclass(frozen=True)
class Operators:
    """``operators.json``: what the reference computes."""

    operators: tuple[OperatorEntry, ...]


def operator_entries(operators: tuple[IntegerOperator, ...]) -> tuple[Operators, bytes]:
    """Operators as a document and the bytes of their constants."""
    constants = bytearray()
    entries = []
    for item in operators:
        if isinstance(item, IntegerConcat):
            entries.append(
                OperatorEntry("concat", item.name, item.inputs, item.output, item.sources, {})
            )
            continue
        if isinstance(item, IntegerProduct | IntegerTranspose):
            entries.append(_product_entry(item))
            continue
        numbers = {"clip_min": item.clip_min, "clip_max": item.clip_max}
        if isinstance(item, IntegerMaxPool):
            entries.append(
                OperatorEntry(
                    "max_pool",
                    item.name,
                    (item.input,),
                    item.output,
                    item.sources,
                    numbers,
                    kernel=item.kernel,
                    strides=item.strides,
                    pads=item.pads,
                    dilations=item.dilations,
                )
            )
            continue
        numbers |= {"groups": item.groups, "shift": item.shift}
        numbers |= {"residual_shift": item.residual_shift, "bias_offset": len(constants)}
        constants += item.bias.astype("<i4").tobytes()
        numbers["weight_offset"] = len(constants)
        constants += np.ascontiguousarray(item.weight).tobytes()
        constants += bytes(-len(constants) % 4)
        if item.channel_shifts is not None:
            numbers["channel_shifts_offset"] = len(constants)
            constants += item.channel_shifts.astype("<i4").tobytes()
        if item.interleave > 1:
            numbers["interleave"] = item.interleave
        entries.append(
            OperatorEntry(
                "conv",
                item.name,
                (item.input,),
                item.output,
                item.sources,
                numbers,
                shape=tuple(item.weight.shape),
                kernel=(item.weight.shape[2], item.weight.shape[3]),
                strides=item.strides,
                pads=item.pads,
                dilations=item.dilations,
                residual=item.residual,
            )
        )
    return Operators(tuple(entries)), bytes(constants)


def _product_entry(item: IntegerProduct | IntegerTranspose) -> OperatorEntry:
    kind, numbers = "transpose", {"groups": item.groups}
    if isinstance(item, IntegerProduct):
        kind = "product"
        numbers |= {"shift": item.shift, "clip_min": item.clip_min, "clip_max": item.clip_max}
    return OperatorEntry(kind, item.name, integers_read(item), item.output, item.sources, numbers)


def read_operators(
    document: Operators, constants: bytes, where: str
) -> tuple[IntegerOperator, ...]:
    """The inverse of :func:`operator_entries`.

    Raises:
        InputError: An entry is incomplete or points outside the constants.
    """
    return tuple(_operator(entry, constants, where) for entry in document.operators)


def _operator(entry: OperatorEntry, constants: bytes, where: str) -> IntegerOperator:
    where = f"{where}: operator {entry.name!r}"
    if entry.kind == "concat":
        return IntegerConcat(entry.name, entry.inputs, entry.output, entry.sources)
    if len(entry.inputs) != _INPUTS.get(entry.kind):
        raise InputError(
            f"{where}: kind {entry.kind!r} with {len(entry.inputs)} inputs; allowed are conv, "
            "max_pool and transpose with one, product with two, and concat"
        )
    n = entry.numbers
    try:
        if entry.kind == "transpose":
            return IntegerTranspose(
                entry.name, entry.inputs[0], entry.output, n["groups"], entry.sources
            )
        if entry.kind == "product":
            return _product(entry, where)
        if entry.kind == "max_pool":
            return IntegerMaxPool(
                entry.name,
                entry.inputs[0],
                entry.output,
                entry.kernel,
                entry.strides,
                entry.pads,
                entry.dilations,
                n["clip_min"],
                n["clip_max"],
                entry.sources,
            )
        shape = entry.shape
        if len(shape) != 4 or min(shape) < 1 or n["groups"] < 1:
            raise InputError(
                f"{where}: weights of shape {shape} in {n['groups']} groups; four extents and "
                "groups of at least 1 are needed"
            )
        if entry.kernel != shape[2:]:
            raise InputError(f"{where}: kernel {entry.kernel}; its weights have {shape[2:]}")
        if not -31 <= n["shift"] <= 31 or not 0 <= n["residual_shift"] <= 24:
            raise InputError(
                f"{where}: shift {n['shift']} and residual shift {n['residual_shift']}; allowed "
                "are -31 to 31 and 0 to 24"
            )
        channel_shifts = None
        if "channel_shifts_offset" in n:
            at = n["channel_shifts_offset"]
            channel_shifts = _part(constants, at, shape[:1], "<i4", where).astype(np.int32)
            if channel_shifts.min() < 0 or channel_shifts.max() > 31:
                raise InputError(
                    f"{where}: shifts per channel from {channel_shifts.min()} to "
                    f"{channel_shifts.max()}; allowed are 0 to 31"
                )
        return IntegerConv(
            name=entry.name,
            input=entry.inputs[0],
            output=entry.output,
            weight=_part(constants, n["weight_offset"], shape, "i1", where).astype(np.int8),
            bias=_part(constants, n["bias_offset"], shape[:1], "<i4", where).astype(np.int32),
            strides=entry.strides,
            pads=entry.pads,
            dilations=entry.dilations,
            groups=n["groups"],
            shift=n["shift"],
            clip_min=n["clip_min"],
            clip_max=n["clip_max"],
            residual=entry.residual,
            residual_shift=n["residual_shift"],
            sources=entry.sources,
            channel_shifts=channel_shifts,
            interleave=n.get("interleave", 1),
        )
    except KeyError as error:
        raise InputError(f"{where}: number {error.args[0]!r} is missing") from error


def _product(entry: OperatorEntry, where: str) -> IntegerProduct:
    n = entry.numbers
    if not 0 <= n["shift"] <= 31:
        raise InputError(f"{where}: shift {n['shift']}; allowed are 0 to 31")
    return IntegerProduct(
        entry.name,
        entry.inputs[0],
        entry.inputs[1],
        entry.output,
        n["groups"],
        n["shift"],
        n["clip_min"],
        n["clip_max"],
        entry.sources,
    )


def _part(constants: bytes, offset: int, shape: tuple[int, ...], dtype: str, where: str) -> Any:
    count = int(np.prod([int(size) for size in shape], dtype=object))
    size = count * np.dtype(dtype).itemsize
    if offset < 0 or offset + size > len(constants):
        raise InputError(
            f"{where}: constants at bytes {offset} to {offset + size} of {len(constants)}"
        )
    return np.frombuffer(constants, dtype, count, offset).reshape(shape)
