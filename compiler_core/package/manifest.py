"""The documents of a package folder, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.executable.report import Metrics
from compiler_core.files.plain import PLAIN_WRITER, PlainReader
from compiler_core.files.visible import json_visible
from compiler_core.quantize.ir import (
    View,
)
from compiler_core.targets.document import read_target, target_document
from compiler_core.targets.target import Target
from compiler_core.units.vta.link.placed_tensor import InputFold

PACKAGE_SCHEMA = "nest-tune/package/1"
LAYOUT_SCHEMA = "nest-tune/layout/1"

MANIFEST = "package.json"
MANIFEST_BYTES_MAX = 256 << 20
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
        sample_axis: The axis of an output along which samples are joined.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    dynamic_batch: bool
    sample_axis: int = 0


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
    target: Annotated[Target, PlainReader(read_target)] = field(
        metadata={PLAIN_WRITER: target_document}
    )
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
    """An activation in DRAM; see :class:`~compiler_core.units.vta.link.placed_tensor.PlacedTensor`.

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


def json_bytes(schema: str, document: Mapping[str, Any]) -> bytes:
    """A document that diffs well; its first key is ``schema``."""
    text = json.dumps({"schema": schema, **document}, indent=1, allow_nan=False, ensure_ascii=False)
    return (json_visible(text) + "\n").encode()


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
