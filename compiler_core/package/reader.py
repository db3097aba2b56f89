"""Reads a package folder whose author is not trusted: digests, paths, then what documents say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler_core.configuration.configuration import (
    Configuration,
    configuration_document,
    parse_configuration,
)
from compiler_core.errors import InputError
from compiler_core.executable.executable import Executable
from compiler_core.executable.report import Report
from compiler_core.files.counts import require_counts
from compiler_core.files.exhausted import cannot_be_read
from compiler_core.files.plain import from_plain
from compiler_core.package.executable_reader import read_executable
from compiler_core.package.manifest import (
    CONFIGURATION,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    REPORT,
    FileEntry,
    Manifest,
)
from compiler_core.package.replace import restore
from compiler_core.package.report_reader import read_report
from compiler_core.package.seal import unsealed

_TOTAL_BYTES_MAX = 8 << 30
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
        if folder.is_file():
            raise InputError(f"package {folder}: is a file; a package is a folder")
        if not folder.is_dir():
            raise InputError(
                f"package {folder}: no such folder",
                hint="nest-tune compile, and study start with --output, write packages",
            )
        if not manifest_path.is_file():
            raise InputError(f"package {folder}: not a package: it holds no {MANIFEST}")
        with manifest_path.open("rb") as file:
            content = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise cannot_be_read(f"package {folder}", error) from error
    if len(content) > MANIFEST_BYTES_MAX:
        raise InputError(f"{manifest_path}: more than {MANIFEST_BYTES_MAX} bytes")
    document = unsealed(content, str(manifest_path))
    described = document.pop("configuration", None)
    manifest = from_plain(Manifest, document, str(manifest_path))
    require_counts(manifest.metrics, f"{manifest_path}: metrics")
    require_counts(manifest.target, f"{manifest_path}: target")
    files = _read_files(folder, manifest.files)
    try:
        configuration = parse_configuration(files[CONFIGURATION], f"{folder}/{CONFIGURATION}")
        if described != configuration_document(configuration):
            raise InputError(
                f"{manifest_path}: configuration differs from {CONFIGURATION}", hint=_HINT
            )
        executable = read_executable(manifest, files, f"package {folder}")
        report = read_report(files[REPORT], executable, f"{folder}/{REPORT}")
    except KeyError as error:
        raise InputError(f"package {folder}: file {error.args[0]!r} is missing") from error
    return Package(folder, manifest, configuration, executable, report)


def _read_files(folder: Path, entries: Mapping[str, FileEntry]) -> dict[str, bytes]:
    require_counts(entries, f"{folder / MANIFEST}: files")
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
            raise cannot_be_read(where, error) from error
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
