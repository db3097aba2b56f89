"""Where the labels of reference lines stand on a chart: where they cover least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nest_tune.report.svg import Place, text_width

_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_PIXELS = 10.5
"""Size of their letters."""
_OVER, _UNDER = -5.0, 13.0
"""From a line to the baseline of a label above and below it."""
_FARTHER = 14.0
"""A row of labels beyond the next one to a line, for where there are many."""
_INSET = 4.0
"""From the ends of the axis."""
_RADIUS = 3.0
"""Of a dot."""
_ON_LABEL, _OUTSIDE, _ON_LINE, _ON_PATH, _ON_DOT = 1000, 1000, 8, 4, 1
"""What it costs to cover another label, to leave the chart, to cover another reference line, a
piece of the path, a dot."""


@dataclass(frozen=True)
class Label:
    """A text on its place: ``anchor`` is ``start``, ``middle`` or ``end``."""

    text: str
    place: Place
    anchor: str

    @property
    def box(self) -> _Box:
        """Left, top, right, bottom."""
        width, (x, y) = text_width(self.text, _PIXELS), self.place
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, y - _PIXELS, left + width, y + 3


def place_labels(
    lines: Sequence[tuple[str, float, bool]],
    corners: tuple[Place, Place],
    dots: Sequence[Place] = (),
    path: Sequence[Place] = (),
) -> list[Label]:
    """A place for each label beside its horizontal line: at the right end where nothing is there,
    else at the left one or in the middle, above or below.

    Args:
        lines: Text, height, and whether it stands below rather than above.
        corners: Left top and right bottom of the chart.
        dots: That are drawn.
        path: Corners of a line that is drawn in horizontal and vertical steps.
    """
    (left, _), (right, _) = corners
    across = (
        (right - _INSET, "end"),
        (left + _INSET, "start"),
        ((left + right) / 2, "middle"),
    )
    steps = [_step(*ends) for ends in pairwise(path)]
    choices = []
    for text, height, is_below in lines:
        others = [other for _, other, _ in lines if other != height]
        sides = (_UNDER, _OVER) if is_below else (_OVER, _UNDER)
        rows = [*sides, *(side + (_FARTHER if side > 0 else -_FARTHER) for side in sides)]
        labels = [Label(text, (x, height + row), a) for row in rows for x, a in across]
        costs = [_cost(label.box, corners, others, dots, steps) for label in labels]
        # Of equal costs the first is taken: sorting keeps their order.
        choices.append(sorted(zip(costs, labels, strict=True), key=lambda choice: choice[0]))
    return _cheapest(choices)


def _cheapest(choices: Sequence[Sequence[tuple[int, Label]]]) -> list[Label]:
    """One of each, at the least cost together, by a search that goes no way that costs more."""
    best: tuple[int, list[Label]] | None = None

    def go_on(taken: list[Label], spent: int) -> None:
        nonlocal best
        if best is not None and spent >= best[0]:
            return
        if len(taken) == len(choices):
            best = spent, taken
            return
        for cost, label in choices[len(taken)]:
            if best is not None and spent + cost >= best[0]:
                return
            meets = sum(_meet(label.box, other.box) for other in taken)
            go_on([*taken, label], spent + cost + _ON_LABEL * meets)

    go_on([], 0)
    return [] if best is None else best[1]


def _cost(
    box: _Box,
    corners: tuple[Place, Place],
    lines: Sequence[float],
    dots: Sequence[Place],
    steps: Sequence[_Box],
) -> int:
    """What a label in that box covers, beside other labels."""
    (left, top), (right, bottom) = corners
    is_outside = box[1] < top or box[3] > bottom or box[0] < left or box[2] > right
    return (
        _OUTSIDE * is_outside
        + _ON_LINE * sum(box[1] < other < box[3] for other in lines)
        + _ON_PATH * sum(_meet(box, step) for step in steps)
        + _ON_DOT * sum(_meet(box, _dot(dot)) for dot in dots)
    )


def _step(one: Place, other: Place) -> _Box:
    (a, b), (c, d) = one, other
    return min(a, c), min(b, d), max(a, c), max(b, d)


def _dot(place: Place) -> _Box:
    x, y = place
    return x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS


def _meet(one: _Box, other: _Box) -> bool:
    """Whether two boxes overlap; lines and points are boxes without extent."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
