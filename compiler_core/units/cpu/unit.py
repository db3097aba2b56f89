"""The CPU as a kind of processing unit. Its tasks are kernels of layers of generated C; where
onnxruntime runs it, nothing is scheduled."""

from __future__ import annotations

from compiler_core.units.unit import UnitKind

KIND = UnitKind(
    "cpu",
    facets={
        "integers": "compiler_core.units.cpu.integers.facet:INTEGERS",
        "costs": "compiler_core.units.cpu.cost_table:COSTS",
        "integer_costs": "compiler_core.units.cpu.integer_cost:INTEGER_COSTS",
        "measuring": "compiler_core.units.cpu.measure:MEASURING",
        "sessions": "compiler_core.units.cpu.session:SESSIONS",
        "bundles": "compiler_core.units.cpu.c.bundles.facet:BUNDLES",
        "candidates": "compiler_core.units.cpu.c.search.facet:CANDIDATES",
        "kernel_library": "compiler_core.units.cpu.c.library.facet:KERNEL_LIBRARY",
        "source_tasks": "compiler_core.units.cpu.c.tasks.source_tasks:SOURCE_TASKS",
        "tasks": "compiler_core.units.cpu.c.tasks.facet:TASKS",
        "spaces": "search_spaces.cpu.spaces:SPACES",
        "features": "cost_models.cpu.task_features:FEATURES",
        "documents": "compiler_core.units.cpu.documents:DOCUMENTS",
    },
    lowering_version=2,
    is_host=True,
    counted="instructions",
)
