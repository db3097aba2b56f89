"""The documents of a package folder, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler_core.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.package.report import Metrics
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    View,
)
from compiler_core.targets.target import Target
from compiler_core.targets.vta.placed_tensor import InputFold

PACKAGE_SCHEMA = "nest-tune/package/1"
LAYOUT_SCHEMA = "nest-tune/layout/1"
OPERATORS_SCHEMA = "nest-tune/operators/1"

MANIFEST = "package.json"
CONFIGURATION = "config.toml"
REPORT = "report.json"
QDQ_MODEL = "model.qdq.onnx"

NCHW16C = "N,C/16,H,W,16"
"""Layout of activations in DRAM; missing channels of the last block are padding."""


@dataclass(frozen=True)
class FileEntry:
    """One file of the folder."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Port:
    """Type of a tensor at a border of the model or of a segment.

    Attributes:
        dtype: NumPy name.
        shape: ``None`` where unknown, as a whole or in one axis.
        dynamic_batch: The leading axis takes any number of samples.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    dynamic_batch: bool


@dataclass(frozen=True)
class Integers:
    """An int8 tensor: ``real = integer * 2**-exponent``."""

    shape: tuple[int, int, int, int]
    exponent: int


@dataclass(frozen=True)
class SegmentEntry:
    """A segment: ``segments/NAME.onnx`` on the CPU, ``segments/NAME/`` on the NPU."""

    name: str
    unit: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """``package.json``, but for its configuration.

    Attributes:
        model: Name and digest.
        target: The whole description: a package runs without the target's file.
        metrics: Totals.
        inputs, outputs: Of the model, in order.
        ports: Float tensors at borders.
        integers: Int8 tensors.
        views: How ports lie over int8 tensors.
        segments: In execution order.
        dram_bytes: Size of the NPU's memory.
        files: Every other file of the folder.
    """

    model: Subject
    target: Target
    metrics: Metrics
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ports: Mapping[str, Port]
    integers: Mapping[str, Integers]
    views: Mapping[str, View]
    segments: tuple[SegmentEntry, ...]
    dram_bytes: int
    files: Mapping[str, FileEntry]


@dataclass(frozen=True)
class LayoutTensor:
    """An activation in DRAM; see :class:`~compiler_core.targets.vta.placed_tensor.PlacedTensor`.

    Attributes:
        address: Of its first byte.
        bytes: Of one sample.
        sample_stride_bytes: From one sample to the next.
        shape: ``(N, C, H, W)``.
        type: ``int8``.
        layout: :data:`NCHW16C`.
        fold: Kernel taps that the CPU lays out as channels.
    """

    address: int
    bytes: int
    sample_stride_bytes: int
    shape: tuple[int, int, int, int]
    type: str
    layout: str
    fold: InputFold | None


@dataclass(frozen=True)
class LayoutLaunch:
    """An operator: ``NAME/core-K/instructions.bin`` for each of its cores, 16 bytes per
    instruction, little-endian."""

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    cores: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Layout:
    """``layout.json``.

    Attributes:
        image_address: Physical address of the first byte of ``dram.bin``.
        image_bytes: Its size.
        tensors: Every activation.
        launches: In order.
    """

    image_address: int
    image_bytes: int
    tensors: Mapping[str, LayoutTensor]
    launches: tuple[LayoutLaunch, ...]


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


def json_bytes(schema: str, document: Mapping[str, Any]) -> bytes:
    """A document that diffs well; its first key is ``schema``."""
    text = json.dumps({"schema": schema, **document}, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def parse_json(content: bytes, schema: str, where: str) -> dict[str, Any]:
    """The inverse of :func:`json_bytes`, without the schema.

    Raises:
        InputError: Not JSON, or of another schema.
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a JSON document: {error}") from error
    seen = document.pop("schema", None) if isinstance(document, dict) else None
    if seen != schema:
        raise InputError(f"{where}: schema {seen!r}; {schema!r} is needed")
    return dict(document)


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
    if len(entry.inputs) != 1 or entry.kind not in ("conv", "max_pool"):
        raise InputError(f"{where}: kind {entry.kind!r} with {len(entry.inputs)} inputs")
    n = entry.numbers
    try:
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
            raise InputError(f"{where}: weights of shape {shape} in {n['groups']} groups")
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
                raise InputError(f"{where}: shifts per channel; allowed are 0 to 31")
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
        )
    except KeyError as error:
        raise InputError(f"{where}: number {error.args[0]!r} is missing") from error


def _part(constants: bytes, offset: int, shape: tuple[int, ...], dtype: str, where: str) -> Any:
    count = int(np.prod([int(size) for size in shape], dtype=object))
    size = count * np.dtype(dtype).itemsize
    if offset < 0 or offset + size > len(constants):
        raise InputError(
            f"{where}: constants at bytes {offset} to {offset + size} of {len(constants)}"
        )
    return np.frombuffer(constants, dtype, count, offset).reshape(shape)
