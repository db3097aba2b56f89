"""Placements: one number per group.

:data:`ON_CPU`, :data:`ON_NPU` (the first core that is free), :data:`SLICED` (across all cores), or
``ON_CORE + k`` for core ``k``.
"""

from __future__ import annotations

ON_CPU, ON_NPU, SLICED, ON_CORE = 0, 1, 2, 3

Placement = tuple[int, ...]
