"""VTA as a kind of processing unit."""

from __future__ import annotations

from compiler_core.units.unit import UnitKind
from compiler_core.units.vta.schedule.lowering_version import LOWERING_VERSION

KIND = UnitKind(
    name="vta",
    lowering_version=LOWERING_VERSION,
    facets={
        "tasks": "compiler_core.units.vta.tasks:TASKS",
        "arithmetic": "compiler_core.units.vta.arithmetic:ARITHMETICS",
        "documents": "compiler_core.units.vta.documents:DOCUMENTS",
        "table": "compiler_core.units.vta.machine.table:TABLE",
        "slicings": "compiler_core.units.vta.structure.slice_documents:SLICINGS",
        "programs": "compiler_core.units.vta.programs:PROGRAMS",
        "parts": "compiler_core.units.vta.parts.parts:PARTS",
        "profiles": "compiler_core.units.vta.profiles:PROFILES",
        "placing": "compiler_core.units.vta.cores.placed_layers:PLACING",
        "layers": "compiler_core.units.vta.link.layers:LAYERS",
        "ways": "compiler_core.units.vta.structure.ways:WAYS",
        "borders": "compiler_core.units.vta.borders:BORDERS",
        "launches": "compiler_core.units.vta.launches:LAUNCHES",
        "simulation": "compiler_core.units.vta.tool.simulation:SIMULATION",
        "driving": "compiler_core.units.vta.driver.driving:DRIVING",
        "spaces": "search_spaces.vta.tiling:SPACES",
        "features": "cost_models.vta.task_features:FEATURES_OF_TILINGS",
        "program_search": "nest_tune.tuning.vta.anneal:PROGRAM_SEARCH",
    },
    unnamed_tasks=True,  # ids are older than other kinds
)
