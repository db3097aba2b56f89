"""The conformance vectors, and the machine they were made for."""

from __future__ import annotations

import json
from pathlib import Path

from compiler_core.targets.load import load_target

VECTORS = Path(__file__).parents[3] / "vectors" / "vta"
PROGRAMS = json.loads((VECTORS / "manifest.json").read_bytes())["programs"]
"""Entry of each program: name, file, kind, what is expected, cycles."""

POSITIVE = [entry for entry in PROGRAMS if entry["expected"] == "success"]
NEGATIVE = [entry for entry in PROGRAMS if entry["expected"] == "error"]
CORE = load_target("vta-rtl2020").npu
GEOMETRY = CORE.geometry
