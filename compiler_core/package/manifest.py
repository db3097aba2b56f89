"""The documents of a package folder, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from compiler_core.configuration.configuration import Subject
from compiler_core.executable.report import Metrics, metrics_document
from compiler_core.files.plain import PLAIN_WRITER, PlainReader
from compiler_core.quantize.ir import TensorView
from compiler_core.targets.document import read_target, target_document
from compiler_core.targets.target import Target

PACKAGE_SCHEMA = "nest-tune/package/1"

MANIFEST = "package.json"
MANIFEST_BYTES_MAX = 256 << 20
CONFIGURATION = "config.toml"
REPORT = "report.json"
QDQ_MODEL = "model.qdq.onnx"


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
class ManifestSegment:
    """A segment: ``segments/NAME.onnx`` on the CPU, ``segments/NAME/`` on the unit of that name."""

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
        dram_bytes: Size of the memories of all units.
        files: Every other file of the folder.
        memories: Size of the memory of each unit that runs a part, by its name, where the target
            has several units; left out where it has one.
    """

    model: Subject
    target: Annotated[Target, PlainReader(read_target)] = field(
        metadata={PLAIN_WRITER: target_document}
    )
    metrics: Metrics = field(metadata={PLAIN_WRITER: metrics_document})
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ports: Mapping[str, Port]
    integers: Mapping[str, Integers]
    views: Mapping[str, TensorView]
    segments: tuple[ManifestSegment, ...]
    dram_bytes: int
    files: Mapping[str, FileEntry]
    memories: Mapping[str, int] = field(default_factory=dict)
