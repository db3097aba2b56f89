"""Drafts of layers, lowered once wherever their arrays lie.

The same layer is lowered for every plan, every way of joining launches and each of its equals in a
model; its instructions differ by addresses in DRAM alone. So it is lowered with every array in a
region of its own, and the addresses are then moved to where the arrays are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from compiler_core.memory.plan import ADDRESS_LIMIT
from compiler_core.recent import Recent
from compiler_core.tensor.workload import Requantization
from compiler_core.units.vta.lower.draft import Draft
from compiler_core.units.vta.lower.emit import LoweredProgram
from compiler_core.units.vta.lower.placement import ConvPlacement, Image, MaxPoolPlacement
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import MEMORY_FIELDS, element_bytes_per_type

Placement = ConvPlacement | MaxPoolPlacement
Lowering = Callable[[Any, Any, Requantization, Any, VtaGeometry], LoweredProgram]

REGION_BYTES = ADDRESS_LIMIT
"""Whatever has an address fits a region."""
MOST_INSTRUCTIONS = 1 << 17
"""Of all drafts that are kept."""

_POSITIONS = 1 << MEMORY_FIELDS["dram_base"].width


_KEPT: Recent[Draft] = Recent(MOST_INSTRUCTIONS)


def shared_draft(
    lower: Lowering,
    workload: Any,
    schedule: Any,
    requantization: Requantization,
    placement: Placement,
    geometry: VtaGeometry,
) -> Draft:
    """The draft that a lowering makes of a layer.

    Args:
        lower: The lowering.
        workload, schedule, requantization, placement, geometry: Its arguments.

    Raises:
        InfeasibleError: The schedule does not fit.
    """
    widths = element_bytes_per_type(geometry.element_bytes).tolist()
    grain = max(widths)
    arrays = [field.name for field in fields(placement) if field.name != "micro_ops"]
    # What a draft moves; its micro-ops have no place yet.
    moved = (getattr(geometry.element_bytes, name) for name in ("inp", "wgt", "acc", "out"))
    if len(arrays) * REGION_BYTES > min(moved) * _POSITIONS or REGION_BYTES % grain:
        return lower(workload, schedule, requantization, placement, geometry).draft
    regions: dict[str, Any] = {}
    moves = []
    for number, name in enumerate(arrays):
        array = getattr(placement, name)
        address = array.address if isinstance(array, Image) else array or 0
        # Elements may begin within others that are larger.
        place = number * REGION_BYTES + address % grain
        moves.append(address - place)
        if isinstance(array, Image):
            regions[name] = replace(array, address=place)
        elif array is not None:
            regions[name] = place
    apart = replace(placement, micro_ops=0, **regions)
    key = lower, workload, schedule, requantization, apart, geometry
    draft = _KEPT.get(key)
    if draft is None:
        draft = lower(workload, schedule, requantization, apart, geometry).draft
        _KEPT.keep(key, draft, len(draft.words))
    return draft.elsewhere(REGION_BYTES, moves, widths)
