"""Reads a package folder whose author is not trusted: every digest, type, name and address."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from compiler_core.configuration import (
    Configuration,
    configuration_document,
    parse_configuration,
)
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.package.executable import CpuSegment, Executable, Segment
from compiler_core.package.manifest import (
    CONFIGURATION,
    LAYOUT_SCHEMA,
    MANIFEST,
    OPERATORS_SCHEMA,
    REPORT,
    FileEntry,
    Layout,
    LayoutLaunch,
    LayoutTensor,
    Manifest,
    Operators,
    SegmentEntry,
    parse_json,
    read_operators,
)
from compiler_core.package.operator_checks import check_operators
from compiler_core.package.replace import restore
from compiler_core.package.report import REPORT_SCHEMA, LayerReport, Report
from compiler_core.package.seal import unsealed
from compiler_core.plain import from_plain
from compiler_core.quantize.ir import QuantizedTensor
from compiler_core.targets.target import Target
from compiler_core.targets.vta.conv_structure import blocks
from compiler_core.targets.vta.dram_plan import ADDRESS_LIMIT
from compiler_core.targets.vta.fold import fold_workload, foldable
from compiler_core.targets.vta.linker import CoreProgram, Launch, NpuSegment
from compiler_core.targets.vta.placed_tensor import PlacedTensor

_MANIFEST_BYTES_MAX = 256 << 20
_TOTAL_BYTES_MAX = 8 << 30
_SEGMENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LAUNCH_NAME = re.compile(r"launch-[0-9]{3,6}")
_EXTENT_MAX = 1 << 24
_DEPTH_MAX = 1 << 20
_HINT = "compile the package again"


@dataclass(frozen=True, eq=False)
class Package:
    """A package that was read and checked.

    Attributes:
        folder: Where it lies.
        manifest: ``package.json``.
        configuration: ``config.toml``.
        executable: What runs.
        report: ``report.json``.
    """

    folder: Path
    manifest: Manifest
    configuration: Configuration
    executable: Executable
    report: Report


def read_package(folder: Path) -> Package:
    """Reads and verifies a package.

    Raises:
        InputError: It is not a package, the manifest or a file is missing, changed or too large,
            or a document does not fit the others.
    """
    manifest_path = folder / MANIFEST
    try:
        restore(folder)
        if not folder.is_dir():
            raise InputError(f"package {folder}: no such folder")
        if not manifest_path.is_file():
            raise InputError(f"package {folder}: not a package: it holds no {MANIFEST}")
        with manifest_path.open("rb") as file:
            content = file.read(_MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"package {folder}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MANIFEST_BYTES_MAX:
        raise InputError(f"{manifest_path}: more than {_MANIFEST_BYTES_MAX} bytes")
    document = unsealed(content, str(manifest_path))
    described = document.pop("configuration", None)
    manifest = from_plain(Manifest, document, str(manifest_path))
    files = _read_files(folder, manifest.files)
    try:
        configuration = parse_configuration(files[CONFIGURATION], f"{folder}/{CONFIGURATION}")
        if described != configuration_document(configuration):
            raise InputError(
                f"{manifest_path}: configuration differs from {CONFIGURATION}", hint=_HINT
            )
        report = parse_json(files[REPORT], REPORT_SCHEMA, f"{folder}/{REPORT}")
        executable = _executable(folder, manifest, files)
    except KeyError as error:
        raise InputError(f"package {folder}: file {error.args[0]!r} is missing") from error
    layers = from_plain(
        tuple[LayerReport, ...],
        report.get("layers"),
        f"{folder}/{REPORT}: layers",
    )
    return Package(folder, manifest, configuration, executable, Report(layers))


def _read_files(folder: Path, entries: Mapping[str, FileEntry]) -> dict[str, bytes]:
    total = sum(entry.size_bytes for entry in entries.values())
    if total > _TOTAL_BYTES_MAX:
        raise InputError(f"package {folder}: {total} bytes; at most {_TOTAL_BYTES_MAX} are read")
    files = {}
    for name, entry in entries.items():
        where = f"package {folder}: file {name!r}"
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise InputError(f"{where}: not a path inside the package")
        path = folder
        for part in parts:
            path /= part
            if path.is_symlink():
                raise InputError(f"{where}: is reached through a symbolic link, which is refused")
        try:
            if not path.is_file():
                raise InputError(f"{where}: is missing", hint=_HINT)
            with path.open("rb") as file:
                content = file.read(entry.size_bytes + 1)
        except OSError as error:
            raise InputError(f"{where}: cannot be read: {error.strerror or error}") from error
        if len(content) != entry.size_bytes:
            size = path.stat().st_size
            raise InputError(
                f"{where}: has {size} bytes; {entry.size_bytes} were written", hint=_HINT
            )
        digest = hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise InputError(
                f"{where}: was changed: SHA-256 {digest[:16]}…, {entry.sha256[:16]}… was written",
                hint=_HINT,
            )
        files[name] = content
    return files


def _executable(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Executable:
    where = f"package {folder}"
    depth = manifest.target.npu.geometry.depth
    if not 0 <= manifest.dram_bytes <= ADDRESS_LIMIT:
        raise InputError(f"{where}: dram_bytes {manifest.dram_bytes}; at most {ADDRESS_LIMIT}")
    if max(depth.uop, depth.inp, depth.wgt, depth.acc) > _DEPTH_MAX:
        raise InputError(
            f"{where}: buffers of {depth}; at most {_DEPTH_MAX} elements are simulated"
        )
    for name, integers in manifest.integers.items():
        if not all(1 <= size <= _EXTENT_MAX for size in integers.shape):
            raise InputError(f"{where}: tensor {name!r} has shape {integers.shape}")
        if not -126 <= integers.exponent <= 126:
            raise InputError(f"{where}: tensor {name!r} has exponent {integers.exponent}")
    _check_views(manifest, where)
    segments: list[Segment] = []
    for entry in manifest.segments:
        if not _SEGMENT_NAME.fullmatch(entry.name):
            raise InputError(f"{where}: segment name {entry.name!r}")
        if entry.unit == "cpu":
            model = files[f"segments/{entry.name}.onnx"]
            segments.append(CpuSegment(entry.name, entry.inputs, entry.outputs, model))
        elif entry.unit == "vta":
            segments.append(_npu_segment(manifest, entry, files, where))
        else:
            raise InputError(f"{where}: segment {entry.name!r} is for unit {entry.unit!r}")
    _check_flow(manifest, where)
    return Executable(
        manifest.target,
        _signature(manifest),
        {
            name: QuantizedTensor(name, item.shape, item.exponent)
            for name, item in manifest.integers.items()
        },
        manifest.views,
        tuple(segments),
        manifest.dram_bytes,
    )


def _signature(manifest: Manifest) -> Graph:
    ports = manifest.ports
    return Graph(
        manifest.model.name,
        manifest.inputs,
        manifest.outputs,
        (),
        {},
        {name: TensorType(port.dtype, port.shape) for name, port in ports.items()},
        {},
        dynamic_batch=frozenset(name for name, port in ports.items() if port.dynamic_batch),
    )


def _check_views(manifest: Manifest, where: str) -> None:
    for name, view in manifest.views.items():
        place = f"{where}: view of {name!r}"
        integers, port = manifest.integers.get(name), manifest.ports.get(name)
        if integers is None or port is None or port.shape is None or None in port.shape:
            raise InputError(f"{place}: has no int8 tensor and port of static shape")
        rank = len(view.split)
        fits = rank > 0 and sorted(view.permutation) == list(range(rank))
        fits = fits and view.permutation[0] == 0 and min(view.split) >= 1
        sizes = {prod(view.split), prod(size or 1 for size in port.shape), prod(integers.shape)}
        if not fits or len(sizes) != 1 or view.split[0] != integers.shape[0]:
            raise InputError(
                f"{place}: split {view.split} and permutation {view.permutation} do not lead from "
                f"{port.shape} to {integers.shape}"
            )


def _check_flow(manifest: Manifest, where: str) -> None:
    """Every tensor that is read was computed or given before."""
    for name in (*manifest.inputs,):
        if name not in manifest.ports:
            raise InputError(f"{where}: input {name!r} has no type")
    floats, integers = set(manifest.inputs), set[str]()
    for entry in manifest.segments:
        for name in entry.inputs:
            as_float = name in floats or (name in integers and name in manifest.views)
            as_integer = name in integers or (name in floats and name in manifest.views)
            if not (as_float if entry.unit == "cpu" else as_integer):
                raise InputError(
                    f"{where}: segment {entry.name!r} reads {name!r}, which nobody computes"
                )
        (floats if entry.unit == "cpu" else integers).update(entry.outputs)
    for name in manifest.outputs:
        if name not in floats and not (name in integers and name in manifest.views):
            raise InputError(f"{where}: nobody computes output {name!r}")


def _npu_segment(
    manifest: Manifest, entry: SegmentEntry, files: Mapping[str, bytes], where: str
) -> NpuSegment:
    folder = f"segments/{entry.name}"
    where = f"{where}: {folder}"
    layout = from_plain(
        Layout,
        parse_json(files[f"{folder}/layout.json"], LAYOUT_SCHEMA, where),
        f"{where}/layout.json",
    )
    operators = from_plain(
        Operators,
        parse_json(files[f"{folder}/operators.json"], OPERATORS_SCHEMA, where),
        f"{where}/operators.json",
    )
    image = np.frombuffer(files[f"{folder}/dram.bin"], np.uint8)
    end = layout.image_address + image.size
    if image.size != layout.image_bytes or not 0 <= layout.image_address <= end:
        raise InputError(f"{where}: dram.bin has {image.size} bytes, not {layout.image_bytes}")
    if end > manifest.dram_bytes:
        raise InputError(f"{where}: dram.bin ends at {end}; DRAM has {manifest.dram_bytes} bytes")
    tensors = {
        name: _placed(tensor, manifest.dram_bytes, f"{where}: tensor {name!r}")
        for name, tensor in layout.tensors.items()
    }
    if not entry.inputs or not entry.outputs:
        raise InputError(f"{where}: has no inputs or no outputs")
    for name in (*entry.inputs, *entry.outputs):
        known = manifest.integers.get(name)
        if name not in tensors or known is None or known.shape != tensors[name].shape:
            raise InputError(f"{where}: tensor {name!r} has no place of its shape in layout.json")
    launches = []
    for launch in layout.launches:
        if not _LAUNCH_NAME.fullmatch(launch.name):
            raise InputError(f"{where}: launch name {launch.name!r}")
        programs = _programs(launch, manifest.target, files, folder, where)
        launches.append(Launch(launch.name, launch.layer, launch.sources, launch.task, programs))
    integer_operators = read_operators(operators, files[f"{folder}/operators.bin"], where)
    shapes = {name: item.shape for name, item in manifest.integers.items()}
    check_operators(integer_operators, entry.inputs, entry.outputs, shapes, where)
    return NpuSegment(
        entry.name,
        integer_operators,
        entry.inputs,
        entry.outputs,
        tensors,
        layout.image_address,
        image,
        tuple(launches),
    )


def _programs(
    launch: LayoutLaunch, target: Target, files: Mapping[str, bytes], folder: str, where: str
) -> tuple[CoreProgram, ...]:
    cores = launch.cores
    if not cores or list(cores) != sorted(set(cores)) or not 0 <= cores[0] <= cores[-1]:
        raise InputError(f"{where}: {launch.name} runs on cores {cores}")
    if cores[-1] >= target.npu_cores:
        raise InputError(
            f"{where}: {launch.name} runs on core {cores[-1]}; {target.name!r} has "
            f"{target.npu_cores}"
        )
    programs = []
    for core in cores:
        code = files[f"{folder}/{launch.name}/core-{core}/instructions.bin"]
        if not code or len(code) % 16:
            raise InputError(
                f"{where}: {launch.name}/core-{core} has {len(code)} bytes; 16 per instruction"
            )
        programs.append(CoreProgram(core, np.frombuffer(code, np.uint8).reshape(-1, 16)))
    return tuple(programs)


def _placed(tensor: LayoutTensor, dram_bytes: int, where: str) -> PlacedTensor:
    batch, channels, height, width = tensor.shape
    if not all(1 <= size <= _EXTENT_MAX for size in tensor.shape):
        raise InputError(f"{where}: shape {tensor.shape}")
    fold = tensor.fold
    if fold is not None:
        work = fold.workload
        extents = (work.batch, work.in_channels, work.in_height, work.in_width)
        window = work.window
        numbers = (*window.kernel, *window.strides, *window.dilations)
        if extents != tensor.shape or not all(1 <= number <= 1024 for number in numbers):
            raise InputError(f"{where}: its fold is of another tensor")
        if not all(0 <= pad <= 1024 for pad in window.pads) or not foldable(work):
            raise InputError(f"{where}: its convolution cannot be folded")
        folded = fold_workload(work, fold.variant)
        channels, height, width = folded.in_channels, folded.in_height, folded.in_width
    size = blocks(channels) * height * width * 16
    if min(height, width) < 1 or tensor.bytes != size or tensor.sample_stride_bytes < size:
        raise InputError(
            f"{where}: {tensor.bytes} bytes, {tensor.sample_stride_bytes} to the next sample; "
            f"its shape needs {size}"
        )
    end = tensor.address + (batch - 1) * tensor.sample_stride_bytes + size
    if tensor.address < 0 or end > dram_bytes:
        raise InputError(f"{where}: lies at {tensor.address} to {end}; DRAM has {dram_bytes} bytes")
    return PlacedTensor(
        tensor.shape, tensor.address, tensor.sample_stride_bytes, tensor.bytes, fold
    )
