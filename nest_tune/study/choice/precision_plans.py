"""Precision by layer as a choice of least cost: exact for damages that add up.

What each layer damages in fewer bits is measured once, everything else kept; what it costs is
measured, too. Which layers to take in fewer bits, so that limits on costs hold and the damage stays
below a level, is an integer program. How much damage keeps the limit on accuracy is not known, only
that more of it loses more: plans of many levels are made, and the level is found by bisection.

| symbol | meaning |
|---|---|
| ``c[l, p]`` | cost of layer ``l`` in precision ``p`` |
| ``d[l, p]`` | noise that it adds |
| ``u[k, l, p]``, ``U[k]`` | what it takes of something that is limited, and the limit |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.integer_programs import solve

Floats = npt.NDArray[np.float64]
Block = tuple[int, ...]
"""Precision per layer, as an index."""

_LEVELS = 24
"""Of damage, for which plans are made."""

_NODES = 10_000
"""Of the search for a plan: a count, so that a loaded machine finds the same."""


@dataclass(frozen=True, eq=False)
class PrecisionCosts:
    """What is known of every layer in every precision.

    Attributes:
        cost: ``float64[layers, precisions]``, to be small.
        damage: Likewise; not below 0.
        uses: Likewise, of what is limited, one table each.
        limits: Upper bounds of their sums.
    """

    cost: Floats
    damage: Floats
    uses: tuple[Floats, ...] = ()
    limits: tuple[float, ...] = ()


@dataclass(frozen=True)
class LayerFormats:
    """Precision of all layers.

    Attributes:
        block: Index per layer.
        cost, damage: Sums.
    """

    block: Block
    cost: float
    damage: float


def plans(table: PrecisionCosts) -> list[LayerFormats]:
    """Plans that keep the limits, from the least damage to the least cost; empty where none can.

    Args:
        table: What is known.
    """
    gentle = _solved(table, table.damage, table.cost, np.inf)
    cheap = _solved(table, table.cost, table.damage, np.inf)
    if gentle is None or cheap is None:
        return []
    found = {gentle.block: gentle}
    low, high = gentle.damage, cheap.damage
    if high > low:
        first = max(low, high * 1e-4)
        for level in np.geomspace(max(first, 1e-12), max(high, 1e-12), _LEVELS):
            plan = _solved(table, table.cost, table.damage, max(float(level), low))
            if plan is not None:
                found.setdefault(plan.block, plan)
    found.setdefault(cheap.block, cheap)
    ordered = sorted(found.values(), key=lambda plan: (plan.damage, plan.cost))
    kept: list[LayerFormats] = []
    for plan in ordered:  # more damage has to buy something
        if not kept or plan.cost < kept[-1].cost:
            kept.append(plan)
    return kept


def next_plan(
    known: Sequence[LayerFormats], good: Mapping[Block, bool], seen: frozenset[Block] | set[Block]
) -> LayerFormats | None:
    """The plan to try next: between the most damage that was good enough and the least that was
    not; ``None`` where nothing is left there.

    Args:
        known: As :func:`plans` gives them.
        good: Plans that were tried, and whether they were good enough.
        seen: Plans that have been proposed.
    """
    fine = [at for at, plan in enumerate(known) if good.get(plan.block) is True]
    low = max(fine, default=-1)
    broken = [at for at, plan in enumerate(known) if good.get(plan.block) is False and at > low]
    high = min(broken, default=len(known))
    middle = (low + high) / 2
    left = [at for at in range(low + 1, high) if known[at].block not in seen]
    return known[min(left, key=lambda at: (abs(at - middle), at))] if left else None


def _solved(
    table: PrecisionCosts, goal: Floats, other: Floats, level: float
) -> LayerFormats | None:
    """The plan with the least of ``goal``, of equal ones with the least of ``other``, whose damage
    is at most ``level``."""
    from scipy.optimize import Bounds, LinearConstraint  # loaded where used: it takes long

    layers, precisions = table.cost.shape
    if not layers:
        return None
    scale, little = _scale(goal), 1e-6 / _scale(other)
    rows = [np.kron(np.eye(layers), np.ones(precisions))]
    low, high = [np.ones(layers)], [np.ones(layers)]
    for use, limit in zip((*table.uses, table.damage), (*table.limits, level), strict=True):
        if np.isfinite(limit):
            unit = _scale(use)
            rows.append(use.reshape(1, -1) / unit)
            low.append(np.array([-np.inf]))
            high.append(np.array([limit / unit + 1e-9]))
    result = solve(
        (goal / scale + little * other).ravel(),
        integrality=np.ones(layers * precisions),
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(np.vstack(rows), np.concatenate(low), np.concatenate(high)),
        options={"mip_rel_gap": 0.0, "node_limit": _NODES},
    )
    if result.x is None:
        return None
    block = tuple(int(at) for at in result.x.reshape(layers, precisions).argmax(axis=1))
    rows_of = np.arange(layers), np.array(block)
    return LayerFormats(block, float(table.cost[rows_of].sum()), float(table.damage[rows_of].sum()))


def _scale(table: Floats) -> float:
    return float(np.abs(table).sum()) or 1.0
