"""What a file or folder is, told from its first bytes and keys: enough to say what was meant."""

from __future__ import annotations

import json
import zipfile
from enum import Enum
from pathlib import Path
from typing import Any

from compiler_core.errors import NestTuneError
from compiler_core.files.toml_file import read_toml

_HEAD_BYTES = 4096
_TOML_BYTES_MAX = 1 << 20
_ONNX_VERSION = b"\x08"  # field 1, ir_version, a varint: what every exporter writes first
_ONNX_FIELDS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42")  # any field of a model that follows it


class FileKind(Enum):
    """Kinds of files that commands take, and names of studies; values are what errors call them."""

    MODEL = "an ONNX model"
    DATA = "an .npz file of arrays"
    STUDY = "a study file"
    LOCK = "a lock file"
    PLAN = "a plan"
    TARGET = "a target description"
    SCHEME = "a quantization scheme"
    SCHEDULE = "a schedule"
    TASK = "a task"
    PACKAGE = "a package"
    MANIFEST = "the manifest of a package"
    BUNDLE = "a bundle of sources"
    PROGRAM = "a raw program"
    PROFILE = "a profile of activations"
    RECORDS = "exported records"
    DATABASE = "a database of studies or records"
    COST_MODEL = "a cost model"
    CPU_TABLE = "a cost table of the CPU"
    STUDY_NAME = "the name of a study"
    FOREIGN = "a model of another format"
    FOLDER = "a folder that is no package"


_BY_SCHEMA = {
    "config": FileKind.LOCK,
    "plan": FileKind.PLAN,
    "target": FileKind.TARGET,
    "task": FileKind.TASK,
    "package": FileKind.MANIFEST,
    "cost-model": FileKind.COST_MODEL,
}
_STUDY_TABLES = frozenset({"study", "objectives", "constraints", "spaces", "sampler", "run"})
_SCHEME_KEYS = frozenset({"granularity", "activation_range", "weight_range", "weight_rounding"})
_FOREIGN = {b"\x89HDF": 0, b"TFL3": 4}
"""First bytes of other formats, and where they stand."""


def kind_of_file(path: Path) -> FileKind | None:
    """The kind of what lies at ``path``; ``None`` where there is nothing, or nothing known."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        return _file(path, head)
    except (OSError, NestTuneError):
        return None


def _folder(path: Path) -> FileKind:
    if (path / "package.json").is_file():
        return FileKind.PACKAGE
    if (path / "model.h").is_file():
        from nest_tune.bundling import opens_bundle

        return FileKind.BUNDLE if opens_bundle(path) is None else FileKind.PACKAGE
    return FileKind.FOLDER


def _file(path: Path, head: bytes) -> FileKind | None:
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head.startswith(b"SQLite format 3\x00"):
        return FileKind.DATABASE
    if any(head[at:].startswith(mark) for mark, at in _FOREIGN.items()):
        return FileKind.FOREIGN
    if head[:1] == _ONNX_VERSION and len(head) > 2 and head[1] < 64 and head[2] in _ONNX_FIELDS:
        return FileKind.MODEL
    if b"\x00" in head:
        return None
    if head.startswith(b"operator,signature,"):
        return FileKind.CPU_TABLE
    if head.lstrip().startswith(b"{"):
        return _json(head)
    return _toml(path) if path.stat().st_size <= _TOML_BYTES_MAX else None


def _archive(path: Path) -> FileKind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    if any(name.endswith(".pkl") for name in names):
        return FileKind.FOREIGN
    if "insn.npy" in names:
        return FileKind.PROGRAM
    if "manifest.npy" in names:
        return FileKind.PROFILE
    return FileKind.DATA if any(name.endswith(".npy") for name in names) else None


def _json(head: bytes) -> FileKind | None:
    text = head.decode("utf-8", "replace")
    if '"schedule_values"' in text.partition("\n")[0]:
        return FileKind.RECORDS
    start = text.find('"schema"')
    if start < 0:
        return None
    try:
        schema, _ = json.JSONDecoder().raw_decode(text[text.index(":", start) + 1 :].lstrip())
    except ValueError:
        return None
    return _schema(schema)


def _toml(path: Path) -> FileKind | None:
    document = read_toml(path)
    if "schema" in document:
        return _schema(document["schema"])
    if _STUDY_TABLES & document.keys() or {"model", "target"} <= document.keys():
        return FileKind.STUDY
    if any(key.startswith("tile_") for key in document):
        return FileKind.SCHEDULE
    return FileKind.SCHEME if _SCHEME_KEYS & document.keys() else None


def _schema(schema: Any) -> FileKind | None:
    parts = str(schema).split("/")
    return _BY_SCHEMA.get(parts[1]) if len(parts) == 3 and parts[0] == "nest-tune" else None
