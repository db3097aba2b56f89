"""Reads the report of a package, and holds it to the executable that it is about."""

from __future__ import annotations

from collections import Counter

from compiler_core.errors import InputError
from compiler_core.executable.executable import Executable
from compiler_core.executable.report import REPORT_SCHEMA, LayerReport, Report
from compiler_core.files.counts import require_counts
from compiler_core.files.json_file import parse_json
from compiler_core.files.plain import from_plain
from compiler_core.units.names import is_on_cpu


def read_report(content: bytes, executable: Executable, where: str) -> Report:
    """Reads ``report.json``.

    Args:
        content: The file's.
        executable: What ran.
        where: What errors call the file.

    Raises:
        InputError: It is no such document, or its steps are not those of the executable.
    """
    document = parse_json(content, REPORT_SCHEMA, where)
    layers = from_plain(tuple[LayerReport, ...], document.get("layers"), f"{where}: layers")
    require_counts(layers, f"{where}: layers")
    _require_steps_of(executable, layers, where)
    return Report(layers)


def _require_steps_of(executable: Executable, layers: tuple[LayerReport, ...], where: str) -> None:
    """Every launch has its layer, in a segment and on a unit that the package has."""
    launched: Counter[str] = Counter()
    for index, layer in enumerate(layers):
        if is_on_cpu(layer.unit):
            continue
        unit = executable.target.unit_at(layer.unit)
        placed = executable.placed.get(layer.segment)
        if unit is None or placed != unit.name:
            raise _unfit(
                f"{where}: layers[{index}]: unit {layer.unit[:80]!r} runs no segment "
                f"{layer.segment[:80]!r} of the package"
            )
        launched[layer.segment] += 1
    for segment in executable.npu_segments:
        if launched[segment.name] != len(segment.launches):
            raise _unfit(
                f"{where}: segment {segment.name!r} has {len(segment.launches)} launches and "
                f"{launched[segment.name]} layers"
            )


def _unfit(message: str) -> InputError:
    return InputError(message, hint="compile the package again")
