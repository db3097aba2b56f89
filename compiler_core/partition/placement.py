"""Placements: one number per group.

:data:`ON_CPU`, :data:`ON_NPU` (the first core that is free), ``ON_CORE + k`` for core ``k``,
:data:`SLICED` (across all cores, along the faster axis) or, where a plan wants one axis,
:data:`SLICED_CHANNELS` and :data:`SLICED_ROWS`.
"""

from __future__ import annotations

ON_CPU, ON_NPU, SLICED, ON_CORE = 0, 1, 2, 3
SLICED_CHANNELS, SLICED_ROWS = -1, -2
SLICED_WAYS = (SLICED, SLICED_CHANNELS, SLICED_ROWS)

Placement = tuple[int, ...]
