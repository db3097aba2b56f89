"""Candidates that keep all of a point but one part: another plan for its scheme, another scheme for
its plan.

What staged search does one after the other (schemes for a plan, then plans for a scheme) is so done
at any time, around the best trial there is. A small part is tried whole. Of a large one come the
guesses, what other good trials have there, and runs of neighbouring decisions set to one value:
groups in a row that leave the NPU together share their borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from nest_tune.study.trial import Point
from search_spaces.joint import Estimating, JointSpace

_LISTED = 4096
_LISTED_ESTIMATING = 256
"""A part of so many points is tried whole; fewer where each one is estimated."""

_RUN = 4
_RUNS = 96


def variations(
    space: JointSpace, point: Point, known: Sequence[Point], generator: np.random.Generator
) -> tuple[Point, ...]:
    """Legal points that differ from one in one part alone, each once.

    Args:
        space: Where to search.
        point: What the rest stays at.
        known: Points whose parts are worth trying.
        generator: Draws the runs.
    """
    found: dict[Point, None] = {}
    for part, block in zip(space.parts, space.blocks, strict=True):
        tables = space.admitted[block]
        listed = _LISTED_ESTIMATING if isinstance(part, Estimating) else _LISTED
        own: Iterator[Point] = iter(())
        if prod(map(len, tables)) <= listed:
            own = product(*tables)
        else:
            shared = dict.fromkeys([*part.guesses(), *(other[block] for other in known)])
            own = iter((*shared, *_runs(point[block], tables, generator)))
        for option in own:
            found[(*point[: block.start], *option, *point[block.stop :])] = None
    found.pop(point, None)
    return tuple(candidate for candidate in found if space.is_legal(candidate))


def _runs(
    point: Point, tables: Sequence[Sequence[int]], generator: np.random.Generator
) -> Iterator[Point]:
    """Some of the points with up to :data:`_RUN` neighbouring decisions set to one value."""
    axes = generator.integers(len(tables), size=_RUNS).tolist()
    extents = generator.integers(1, _RUN + 1, size=_RUNS).tolist()
    for first, extent, draw in zip(axes, extents, generator.random(_RUNS).tolist(), strict=True):
        value = tables[first][int(draw * len(tables[first]))]
        yield tuple(
            value if first <= axis < first + extent and value in table else here
            for axis, (here, table) in enumerate(zip(point, tables, strict=True))
        )
