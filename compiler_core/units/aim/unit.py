"""GDDR6-AiM as a kind of processing unit."""

from __future__ import annotations

from compiler_core.units.unit import UnitKind

KIND = UnitKind(
    name="aim",
    lowering_version=1,
    facets={
        "tasks": "compiler_core.units.aim.tasks:TASKS",
        "arithmetic": "compiler_core.units.aim.arithmetic:ARITHMETICS",
        "documents": "compiler_core.units.aim.documents:DOCUMENTS",
        "table": "compiler_core.units.aim.machine.table:TABLE",
        "layers": "compiler_core.units.aim.layers:LAYERS",
        "simulation": "compiler_core.units.aim.tool.simulation:SIMULATION",
        "ways": "compiler_core.units.aim.ways:WAYS",
        "launches": "compiler_core.units.aim.launches:LAUNCHES",
        "numbers": "compiler_core.units.aim.numbers:NUMBERS",
        "residents": "compiler_core.units.aim.residents:RESIDENTS",
        "programs": "compiler_core.units.aim.programs:PROGRAMS",
        "parts": "compiler_core.units.aim.parts:PARTS",
        "profiles": "compiler_core.units.aim.profiles:PROFILES",
        "spaces": "search_spaces.aim.spaces:SPACES",
        "features": "cost_models.aim.task_features:FEATURES",
    },
)
