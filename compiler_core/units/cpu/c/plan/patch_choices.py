"""Ways to run the first operators in stripes that are worth a try: by memory and what is copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.plan.memory import plan_memory
from compiler_core.units.cpu.c.plan.patches import Patches, cuts, kept_elements, patched

LEAST = "least"
"""In the place of patches: those of the least memory."""

_COUNTS = (2, 3, 4, 6, 8, 12, 16, 24)
"""Numbers of stripes that are looked at."""

_WORTH = 0.9
"""Share of the whole network's memory that patches have to stay below."""

Scratch = Callable[[Network, Operator], int]


@dataclass(frozen=True)
class PatchChoice:
    """Patches and what follows from them.

    Attributes:
        patches: The decision.
        arena_bound_bytes: No arena is smaller.
        kept_elements: That go from stripe to stripe.
    """

    patches: Patches
    arena_bound_bytes: int
    kept_elements: int


def patch_choices(network: Network, scratch: Scratch, most: int) -> list[PatchChoice]:
    """Patches none of which is worse than another in both memory and copies, the least memory
    first.

    Args:
        network: Whole.
        scratch: What an operator needs while it runs.
        most: So many at most, evenly taken.
    """

    def bound(of: Network) -> int:
        return plan_memory(of, lambda item: scratch(of, item), exact=False).packing.bound

    whole = bound(network)
    found = []
    for end in cuts(network):
        for count in _COUNTS:
            try:
                cut = patched(network, Patches(end, count))
            except InputError:
                continue  # more stripes than lines, or a window of nothing but padding
            found.append(PatchChoice(Patches(end, count), bound(cut), kept_elements(cut)))
    found.sort(key=lambda item: (item.arena_bound_bytes, item.kept_elements))
    front: list[PatchChoice] = []
    for item in found:
        fewer = not front or item.kept_elements < front[-1].kept_elements
        if fewer and item.arena_bound_bytes < _WORTH * whole:
            front.append(item)
    if len(front) <= most or most == 1:
        return front[:most]
    return [front[round(k * (len(front) - 1) / (most - 1))] for k in range(most)]
