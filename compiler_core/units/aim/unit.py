"""GDDR6-AiM as a kind of processing unit."""

from __future__ import annotations

from compiler_core.units.unit import UnitKind

KIND = UnitKind(
    name="aim",
    lowering_version=1,
    facets={
        "table": "compiler_core.units.aim.machine.table:TABLE",
        "simulation": "compiler_core.units.aim.tool.simulation:SIMULATION",
    },
)
