"""How much of the space of losses a set of trials dominates.

Source: Zitzler and Thiele, "Multiobjective optimization using evolutionary algorithms: a
comparative case study", 1998; here by slicing one objective after another (While et al., "A faster
algorithm for calculating hypervolume", 2006), which is enough for fronts of hundreds of trials.

====== =======================================================
symbol meaning
====== =======================================================
point  losses of a trial, ``float[d]``
r      reference, ``float[d]``: losses at which nothing is gained
====== =======================================================
"""

from __future__ import annotations

from collections.abc import Sequence

Point = Sequence[float]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume of what the points dominate, up to the reference.

    Args:
        points: Losses; those that don't beat the reference in every objective count for nothing.
        reference: As many losses.
    """
    inside = [tuple(p) for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    return _volume(inside, tuple(reference))


def _volume(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in points)
    # Between two neighbours in the last objective, the points up to the lower one dominate.
    ordered = sorted(points, key=lambda point: point[-1])
    total, kept = 0.0, []
    for index, point in enumerate(ordered):
        kept.append(point[:-1])
        end = ordered[index + 1][-1] if index + 1 < len(ordered) else reference[-1]
        if end > point[-1]:
            total += (end - point[-1]) * _volume(_undominated(kept), reference[:-1])
    return total


def _undominated(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for point in points:
        if any(all(a <= b for a, b in zip(other, point, strict=True)) for other in found):
            continue
        found = [p for p in found if not all(a <= b for a, b in zip(point, p, strict=True))]
        found.append(point)
    return found
