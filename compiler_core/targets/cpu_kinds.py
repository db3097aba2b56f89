"""Kinds of CPUs in target files: what ``kind`` of ``[cpu]`` says of how code for it is made.

``onnx``, which is meant where nothing is said, runs parts of a model under onnxruntime, beside
units. For the others whole models are generated as sources (facet ``bundles``): ``c``.
"""

from __future__ import annotations

from pathlib import Path

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.targets.lineage import RawFile, raw_lineage
from compiler_core.targets.schema import RUNTIME_CPU
from compiler_core.targets.target_file import FILE_HINT, shown
from compiler_core.units.facets.bundles import bundle_writers
from compiler_core.units.names import CPU


def cpu_kind(path: Path) -> str:
    """The kind of the CPU that a target file describes, or inherits; that of a file that cannot be
    read is the usual one.

    Raises:
        InputError: There is no such kind, or it is another than that of what the file inherits.
    """
    found: str | None = None
    for file in reversed(raw_lineage(path)):
        stated = _stated(file)
        where = f"{file.label}: {CPU}.kind = {shown(stated)}"
        known = (RUNTIME_CPU,) if stated in (None, RUNTIME_CPU) else _known()
        if stated is not None and stated not in known:
            raise InputError(
                f"{where}: there is no such kind of CPU; known are {', '.join(known)}",
                hint=did_you_mean(stated, known) or FILE_HINT,
            )
        if found is not None and stated is not None and stated != found:
            raise InputError(
                f"{where}: what the file inherits has a CPU of kind {found!r}",
                hint="remove inherit, or kind",
            )
        found = found or stated or RUNTIME_CPU
    return found or RUNTIME_CPU


def _known() -> tuple[str, ...]:
    return (RUNTIME_CPU, *(writer.cpu_kind for writer in bundle_writers()))


def _stated(file: RawFile) -> str | None:
    table = file.table.get(CPU)
    kind = table.get("kind") if isinstance(table, dict) else None
    if isinstance(kind, dict):
        kind = kind.get("value")
    return kind if isinstance(kind, str) else None
