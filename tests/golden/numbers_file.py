"""The files of golden numbers: read, compared, shown as a table and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.golden.measure import Numbers

FOLDER = Path(__file__).resolve().parent / "numbers"
LIBRARIES = ("numpy", "onnx", "onnxruntime", "optuna", "scipy", "xgboost-cpu")
"""Whose versions may change numbers; kept beside them, for people."""


@dataclass(frozen=True)
class Change:
    """One number that is not what it was.

    Attributes:
        case: Name of its case.
        key: Name of the number.
        kept: What the file says; ``None`` where it says nothing.
        measured: What was measured; ``None`` where nothing was.
    """

    case: str
    key: str
    kept: int | float | str | None
    measured: int | float | str | None


def read(name: str) -> dict[str, Numbers]:
    """Numbers by case, and the versions of libraries under ``versions``; empty without a file."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(name: str, numbers: Mapping[str, Numbers]) -> None:
    """Writes a file: sorted, one number a line."""
    found = {case: numbers[case] for case in sorted(numbers) if case != "versions"}
    document = {"versions": versions(), **found}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(f"{text}\n")


def versions() -> Numbers:
    """Of the libraries that are installed."""
    return {library: version(library) for library in LIBRARIES}


def changes(case: str, kept: Numbers, measured: Numbers) -> Iterator[Change]:
    """What differs, exactly, in the order of what was measured; what is gone comes last."""
    for key in [*measured, *(key for key in kept if key not in measured)]:
        if kept.get(key) != measured.get(key):
            yield Change(case, key, kept.get(key), measured.get(key))


def table(found: list[Change]) -> str:
    """Changes as text: a line per case, below it one per number, with the ratio of quantities."""
    lines = []
    for number, change in enumerate(found):
        if not number or found[number - 1].case != change.case:
            lines.append(change.case)
        kept, measured = (
            "-" if value is None else str(value) for value in (change.kept, change.measured)
        )
        if len(kept) + len(measured) > 100:
            lines += [f"  {change.key}", f"    - {kept}", f"    + {measured}"]
        else:
            lines.append(f"  {change.key}: {kept} -> {measured}{_ratio(change)}")
    return "\n".join(lines)


def _ratio(change: Change) -> str:
    kept, measured = change.kept, change.measured
    if isinstance(kept, str) or isinstance(measured, str) or not kept or measured is None:
        return ""
    return f"  ({measured / kept - 1:+.2%})"
