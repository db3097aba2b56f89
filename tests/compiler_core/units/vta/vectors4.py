"""Programs of cores with weights of 4 bits, and the machines they were made for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler_core.units.vta.machine.hardware import VtaGeometry, element_bytes_of
from tests.compiler_core.units.vta.reference_functional import INT8, Shape
from tests.compiler_core.units.vta.vectors import GEOMETRY

VECTORS4 = Path(__file__).parents[3] / "vectors" / "vta4"
PROGRAMS4: list[dict[str, Any]] = json.loads((VECTORS4 / "manifest.json").read_bytes())["programs"]
POSITIVE4 = [entry for entry in PROGRAMS4 if entry["expected"] == "success"]
NEGATIVE4 = [entry for entry in PROGRAMS4 if entry["expected"] == "error"]


def geometry_of(shape: Shape) -> VtaGeometry:
    """A core with the buffers of the published one."""
    return replace(
        GEOMETRY,
        block_out=shape.lanes,
        weight_bits=shape.weight_bits,
        element_bytes=element_bytes_of(1, 16, shape.lanes, shape.weight_bits),
    )


SHAPES = {"vta-1x16-i8": INT8, "vta-1x16x32-w4": Shape(32, 4), "vta-1x16-w4": Shape(16, 4)}
"""By the name of the configuration."""

GEOMETRIES = {name: geometry_of(shape) for name, shape in SHAPES.items()}
