"""The conformance vectors of the unit, as they lie in ``tests/vectors/aim``."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.program.text import parse_text

FOLDER = Path(__file__).parents[3] / "vectors/aim"


@lru_cache(maxsize=1)
def manifest() -> dict[str, dict[str, Any]]:
    """Entries by name."""
    entries = json.loads((FOLDER / "manifest.json").read_text())["programs"]
    return {entry["name"]: entry for entry in entries}


@lru_cache(maxsize=1)
def lines() -> dict[str, dict[str, Any]]:
    """Text and what it has no place for, by name."""
    with gzip.open(FOLDER / "programs.jsonl.gz", "rt") as stream:
        entries = [json.loads(line) for line in stream]
    return {entry["name"]: entry for entry in entries}


def program(name: str) -> Program:
    """A program of the vectors."""
    entry = lines()[name]
    found = parse_text(entry["trace"])
    for field in ("col", "lane"):
        if field in entry:
            found.records[field] = entry[field]
    return found


def arrays(path: Path) -> dict[str, Any]:
    """All arrays of a file, which is closed again."""
    with np.load(path) as file:
        return dict(file)
