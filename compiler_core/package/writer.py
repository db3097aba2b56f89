"""Writes a package folder: whole or not at all, and the same bytes for the same compile."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from compiler_core.compile.compile import CompiledModel
from compiler_core.configuration.configuration import (
    configuration_document,
    configuration_text,
    scheme_record,
)
from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment, Executable
from compiler_core.executable.report import REPORT_SCHEMA, layer_document, metrics_document
from compiler_core.files.exhausted import cannot_be_written
from compiler_core.files.json_file import json_bytes, parse_json
from compiler_core.files.plain import to_plain
from compiler_core.files.visible import visible_lines
from compiler_core.package.manifest import (
    CONFIGURATION,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    PACKAGE_SCHEMA,
    QDQ_MODEL,
    REPORT,
    FileEntry,
    Integers,
    Manifest,
    ManifestSegment,
    Port,
)
from compiler_core.package.replace import replace_folder, restore
from compiler_core.package.seal import sealed_bytes
from compiler_core.precision.report import SESSION_FILE, session_text
from compiler_core.quantize.qdq import qdq_model
from compiler_core.tensor.operator_file import OPERATORS_SCHEMA, operator_entries
from compiler_core.units.facets.host import float_sessions
from compiler_core.units.facets.parts import parts_of
from compiler_core.units.facets.programs import UnitSegment
from compiler_core.units.names import CPU


def package_files(compiled: CompiledModel, texts: Mapping[str, str]) -> dict[str, bytes]:
    """Every file of the folder by its path.

    Args:
        compiled: What to write.
        texts: Further text files by name.
    """
    files = {
        QDQ_MODEL: qdq_model(compiled.source.quantized).SerializeToString(deterministic=True),
        CONFIGURATION: configuration_text(compiled.configuration).encode(),
    }
    for segment in compiled.executable.segments:
        if isinstance(segment, CpuSegment):
            files[f"segments/{segment.name}.onnx"] = segment.model
        else:
            files |= _segment_files(segment)
    files[REPORT] = json_bytes(
        REPORT_SCHEMA,
        {
            "metrics": metrics_document(compiled.metrics),
            **scheme_record(compiled.configuration.scheme),
            "layers": [layer_document(x, compiled.metrics) for x in compiled.report.layers],
        },
    )
    if compiled.executable.target.by_clock:
        files[SESSION_FILE] = session_text(compiled.configuration.runtime).encode()
    files |= {name: visible_lines(text).encode() for name, text in texts.items()}
    entries = {
        path: FileEntry(hashlib.sha256(content).hexdigest(), len(content))
        for path, content in sorted(files.items())
    }
    document = to_plain(_manifest(compiled, entries))
    if not document["memories"]:
        del document["memories"]
    at = list(document).index("metrics")
    items = list(document.items())
    items.insert(at, ("configuration", configuration_document(compiled.configuration)))
    return {MANIFEST: sealed_bytes(dict(items)), **files}


def _segment_files(segment: UnitSegment) -> dict[str, bytes]:
    folder = f"segments/{segment.name}"
    files = dict(parts_of(segment.kind).files(segment))
    if segment.operators:  # units with numbers of their own say in their files what they compute
        operators, constants = operator_entries(segment.operators)
        files["operators.json"] = json_bytes(OPERATORS_SCHEMA, to_plain(operators))
        files["operators.bin"] = constants
    return {f"{folder}/{name}": content for name, content in files.items()}


def _manifest(compiled: CompiledModel, entries: Mapping[str, FileEntry]) -> Manifest:
    executable = compiled.executable
    return Manifest(
        compiled.configuration.model,
        executable.target,
        compiled.metrics,
        executable.signature.inputs,
        executable.signature.outputs,
        _ports(executable),
        {name: Integers(t.shape, t.exponent) for name, t in executable.tensors.items()},
        executable.views,
        tuple(
            ManifestSegment(
                segment.name,
                CPU if isinstance(segment, CpuSegment) else executable.placed[segment.name],
                segment.inputs,
                segment.outputs,
            )
            for segment in executable.segments
        ),
        executable.dram_bytes,
        entries,
        executable.memory_bytes if len(executable.target.units) > 1 else {},
    )


def _ports(executable: Executable) -> dict[str, Port]:
    signature = executable.signature
    return {
        name: Port(
            known.dtype, known.shape, name in signature.dynamic_batch, signature.sample_axis(name)
        )
        for name, known in signature.types.items()
    }


def require_free(folder: Path) -> None:
    """Refuses to replace anything but a package or an empty folder.

    Raises:
        InputError: ``folder`` is something else, or its parent is no folder.
    """
    if not folder.absolute().parent.is_dir():
        raise InputError(f"output {folder}: there is no folder {folder.absolute().parent}")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"output {folder}: exists and is no folder")
    try:
        restore(folder)
        if not folder.exists() or not any(folder.iterdir()):
            return
        manifest = folder / MANIFEST
        if manifest.is_file() and manifest.stat().st_size <= MANIFEST_BYTES_MAX:
            parse_json(manifest.read_bytes(), PACKAGE_SCHEMA, str(manifest))
            return
    except OSError as error:
        raise InputError(f"output {folder}: cannot be read: {error.strerror or error}") from error
    except InputError:
        pass
    raise InputError(
        f"output {folder}: exists and is not a package; it is left as it is",
        hint="choose another folder",
    )


def write_package(compiled: CompiledModel, folder: Path, texts: Mapping[str, str]) -> None:
    """Writes a package; the folder appears complete or stays as it was.

    Args:
        compiled: What to write.
        folder: A new or empty folder, or a package to replace.
        texts: Further text files by name.

    Raises:
        InputError: The folder holds something else, or cannot be written; or onnxruntime cannot
            run what is left to the CPU.
        ResourceError: The disk is full.
    """
    require_free(folder)
    for segment in compiled.executable.segments:
        if isinstance(segment, CpuSegment):
            float_sessions().open(segment)
    files = package_files(compiled, texts)
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        try:
            _fill(fresh / "package", files)
            replace_folder(fresh / "package", folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise cannot_be_written(f"output {folder}", error) from error


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    parents = dict.fromkeys(str(Path(name).parent) for name in files)
    for parent in parents:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
