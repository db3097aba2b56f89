"""The CPU as a kind of processing unit: nothing is scheduled on it, so that it has no tasks."""

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
        "documents": "compiler_core.units.cpu.documents:DOCUMENTS",
    },
    is_host=True,
)
