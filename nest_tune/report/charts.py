"""The charts of a report: pure functions from values to SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

from nest_tune.report.labels import place_labels
from nest_tune.report.scale import Scale, fit, short
from nest_tune.report.svg import NARROW, WIDE, Drawing, Size, axes, text_width

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 30.0, 42.0
_Chart = TypeVar("_Chart")

_FOCUS, _FRONT_FOCUS = 2.5, 1.4
"""All values over those that matter, from where an axis holds only these."""

_APART = 3.0
"""Spans of all others that lie between them and one of a front that an axis leaves at its edge."""
_FEWEST = 3
"""So many others tell what is far away."""


@dataclass(frozen=True)
class Line:
    """A horizontal or vertical reference line.

    Attributes:
        value: On its axis.
        label: Beside it.
        kind: Class: ``default``, ``bound``, ``limit``, ``float``.
    """

    value: float
    label: str
    kind: str


@dataclass(frozen=True)
class Dot:
    """A trial on a chart; ``kind`` is ``feasible``, ``infeasible``, ``front``, ``chosen`` or
    ``default``."""

    x: float
    y: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Limits:
    """Values that an axis' metric may take."""

    low: float = float("-inf")
    high: float = float("inf")


def _focused(
    values: Sequence[float], kept: Sequence[float], focus: float = _FOCUS
) -> tuple[float, ...]:
    """Values that an axis holds: all, or, where others would press those that matter to a line,
    these with what lies near them."""
    if not kept:
        return tuple(values)
    span = max(kept) - min(kept) or 0.05 * abs(max(kept))
    low, high = min(kept) - span, max(kept) + span
    if max(values) - min(values) < focus * (high - low):
        return tuple(values)
    return tuple(value for value in values if low <= value <= high)


def _without_far(values: Sequence[float], kept: Sequence[float]) -> tuple[float, ...]:
    """Values without the few at either end that would press all others to a line.

    Args:
        values: Of the trials that matter.
        kept: Those among them that stay whatever they are.
    """
    left = sorted(values)
    while len(set(left)) > _FEWEST:
        rest, at = max(
            ((left[1:], 0), (left[:-1], -1)), key=lambda cut: abs(cut[0][cut[1]] - left[cut[1]])
        )
        gap, span = abs(rest[at] - left[at]), rest[-1] - rest[0]
        if left[at] in kept or gap <= _APART * span:
            break
        left = rest
    return tuple(left)


@dataclass(frozen=True)
class FrontChart:
    """Trials by two metrics.

    Attributes:
        x_name, y_name: Metrics with units.
        dots: Trials.
        x_limits, y_limits: What is allowed.
        x_less: Whether less of the first is better.
    """

    x_name: str
    y_name: str
    dots: tuple[Dot, ...]
    x_limits: Limits = Limits()
    y_limits: Limits = Limits()
    x_less: bool = True

    @property
    def shown(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Values that the axes hold: those of the front, the chosen and the default trial fill
        them, but for what of the front lies far from all others."""
        matter = [dot for dot in self.dots if dot.kind in ("front", "chosen", "default")]
        fixed = [dot for dot in matter if dot.kind != "front"]
        across = _without_far([dot.x for dot in matter], [dot.x for dot in fixed])
        up = _without_far([dot.y for dot in matter], [dot.y for dot in fixed])
        return (
            _focused([dot.x for dot in self.dots], across, _FRONT_FOCUS),
            _focused([dot.y for dot in self.dots], up, _FRONT_FOCUS),
        )

    @property
    def beyond(self) -> frozenset[Dot]:
        """Trials that lie beyond an axis; they stand at its edge."""
        across, up = self.shown
        low, high = (min(across), min(up)), (max(across), max(up))
        return frozenset(
            dot
            for dot in self.dots
            if not (low[0] <= dot.x <= high[0] and low[1] <= dot.y <= high[1])
        )


@dataclass(frozen=True)
class ProgressChart:
    """Values of trials and the best so far.

    Attributes:
        x_name, y_name: Axes.
        dots: Trials, by their place on the axis.
        best: Corners of the best so far: place and value.
        lines: References.
    """

    x_name: str
    y_name: str
    dots: tuple[Dot, ...]
    best: tuple[tuple[float, float], ...]
    lines: tuple[Line, ...]

    @property
    def shown(self) -> tuple[float, ...]:
        """Values that the vertical axis holds: all, or, where bad trials would press what matters
        to a line, the best ones and the references with those near them; without the few bests
        that lie far from all others, as that of an exact trial in decibels does."""
        references = [line.value for line in self.lines]
        values = [dot.y for dot in self.dots] + references
        kept = _without_far([value for _, value in self.best] + references, references)
        return _focused(values, kept)

    @property
    def is_focused(self) -> bool:
        """Whether some trials lie beyond the axis."""
        return len(self.shown) < len(self.dots) + len(self.lines)


@dataclass(frozen=True)
class RoofDot:
    """A layer on the roofline."""

    macs_per_byte: float
    macs_per_cycle: float
    kind: str
    tip: str


@dataclass(frozen=True)
class RooflineChart:
    """Layers of one unit under its roof.

    Attributes:
        peak_macs_per_cycle: Of the arrays of its cores.
        bytes_per_cycle: Of the memory port.
        dots: Layers with multiply-accumulates.
        unit: Its name; empty where the target has one alone.
    """

    peak_macs_per_cycle: float
    bytes_per_cycle: float
    dots: tuple[RoofDot, ...]
    unit: str = ""


@dataclass(frozen=True)
class ScatterChart:
    """Predicted against measured values.

    Attributes:
        x_name, y_name: Measured, and predicted.
        dots: Pairs of them.
    """

    x_name: str
    y_name: str
    dots: tuple[tuple[float, float], ...]


def both(draw: Callable[[_Chart, Size], str], chart: _Chart) -> str:
    """A chart for wide and for narrow pages."""
    return f"{draw(chart, WIDE)}{draw(chart, NARROW)}"


_RADIUS = {
    "beyond": 3.0,
    "feasible": 3.5,
    "infeasible": 3.0,
    "front": 4.5,
    "default": 5.5,
    "chosen": 6.5,
}


def draw_front(chart: FrontChart, size: Size) -> str:
    """Trials by two metrics, what the limits rule out shaded, the front as a staircase."""
    drawing = Drawing(size, f"{chart.y_name} against {chart.x_name} of all measured trials")
    across, up = chart.shown
    x = fit([*across, *_near(across, chart.x_limits)], _LEFT, size.width - _RIGHT)
    y = fit([*up, *_near(up, chart.y_limits)], size.height - _BOTTOM, _TOP)
    axes(drawing, x, y, chart.x_name, chart.y_name)
    _shade(drawing, x, y, chart)
    front = sorted((d.x, d.y) for d in chart.dots if d.kind in ("front", "chosen"))
    stairs: list[tuple[float, float]] = []
    for place in front:
        if stairs:
            corner = (place[0], stairs[-1][1]) if chart.x_less else (stairs[-1][0], place[1])
            stairs.append(corner)
        stairs.append(place)
    drawing.path([(x(a), y(b)) for a, b in stairs], "front-line")
    beyond = chart.beyond
    shown = [(x(d.x), y(d.y), "beyond" if d in beyond else d.kind, d.tip) for d in chart.dots]
    _draw_dots(drawing, sorted(shown, key=lambda d: _RADIUS[d[2]]), _RADIUS)
    return drawing.finish()


def _draw_dots(
    drawing: Drawing, dots: Sequence[tuple[float, float, str, str]], radius: Mapping[str, float]
) -> None:
    """Dots in their order: place, kind, tip. Those that say nothing are drawn first, all of a kind
    at once, which takes a tenth of the room."""
    plain: dict[str, list[tuple[float, float]]] = {}
    for across, down, kind, tip in dots:
        if not tip:
            plain.setdefault(kind, []).append((across, down))
    for kind, places in plain.items():
        drawing.dots(places, radius[kind], f"dots {kind}")
    for across, down, kind, tip in dots:
        if tip:
            drawing.dot((across, down), radius[kind], f"dot {kind}", tip)


def _near(values: Sequence[float], limits: Limits) -> list[float]:
    """Bounds of limits that lie near enough to the values to be shown."""
    span = max(values) - min(values) or abs(max(values)) or 1.0
    return [
        bound
        for bound in (limits.low, limits.high)
        if isfinite(bound) and min(values) - span <= bound <= max(values) + span
    ]


def _shade(drawing: Drawing, x: Scale, y: Scale, chart: FrontChart) -> None:
    top, bottom, left, right = y.end, y.start, x.start, x.end
    for bound, low in ((chart.x_limits.low, True), (chart.x_limits.high, False)):
        if x.low < bound < x.high:
            place = x(bound)
            start, end = (left, place) if low else (place, right)
            drawing.box((start, top), end - start, bottom - top, "shade")
            drawing.line((place, top), (place, bottom), "line limit")
            text = f"limit {short(bound)}"
            room = place + 6 + text_width(text) < right
            drawing.text((place + (6 if room else -6), top + 12), text, "tag limit",
                         "start" if room else "end")  # fmt: skip
    for bound, low in ((chart.y_limits.low, True), (chart.y_limits.high, False)):
        if y.low < bound < y.high:
            place = y(bound)
            start, end = (place, bottom) if low else (top, place)
            drawing.box((left, start), right - left, end - start, "shade")
            drawing.line((left, place), (right, place), "line limit")
            drawing.text((right - 6, place - 5), f"limit {short(bound)}", "tag limit", "end")


def draw_progress(chart: ProgressChart, size: Size) -> str:
    """Every trial as a dot, the best so far as a line, references across."""
    drawing = Drawing(size, f"{chart.y_name} against {chart.x_name}")
    whole = all(dot.x == round(dot.x) for dot in chart.dots)
    x = fit([0.0, *(dot.x for dot in chart.dots)], _LEFT, size.width - _RIGHT, is_log=False)
    x = Scale(0.0, x.high, x.start, x.end)
    y = fit(chart.shown, size.height - _BOTTOM, _TOP)
    axes(drawing, x, y, chart.x_name, chart.y_name, whole_x=whole)
    for line in chart.lines:
        drawing.line((x.start, y(line.value)), (x.end, y(line.value)), f"line {line.kind}")
    shown = [
        (x(d.x), y(d.y), d.kind if y.low <= d.y <= y.high else "beyond", d.tip) for d in chart.dots
    ]
    _draw_dots(drawing, shown, dict.fromkeys(("feasible", "infeasible", "beyond"), 3.0))
    steps: list[tuple[float, float]] = []
    for at, value in chart.best:
        if steps:
            steps.append((x(at), steps[-1][1]))
        steps.append((x(at), y(value)))
    if steps:
        steps.append((x(max(dot.x for dot in chart.dots)), steps[-1][1]))
    drawing.path(steps, "best-line")
    # A bound is what the best comes down to: its label stands rather below the line.
    wanted = [(line.label, y(line.value), line.kind == "bound") for line in chart.lines]
    places = [(across, up) for across, up, _, _ in shown]
    labels = place_labels(wanted, ((x.start, y.end), (x.end, y.start)), places, steps)
    for line, label in zip(chart.lines, labels, strict=True):
        drawing.text(label.place, label.text, f"tag {line.kind}", label.anchor)
    return drawing.finish()


def draw_roofline(chart: RooflineChart, size: Size) -> str:
    """Achieved against arithmetic intensity, both logarithmic, under the roof."""
    drawing = Drawing(size, "multiply-accumulates per cycle against those per DRAM byte")
    ridge = chart.peak_macs_per_cycle / chart.bytes_per_cycle
    x = fit(
        [ridge, *(d.macs_per_byte for d in chart.dots)], _LEFT, size.width - _RIGHT, is_log=True
    )
    roof_start = min(chart.peak_macs_per_cycle, x.low * chart.bytes_per_cycle)
    heights = [chart.peak_macs_per_cycle, roof_start, *(d.macs_per_cycle for d in chart.dots)]
    y = fit(heights, size.height - _BOTTOM, _TOP, is_log=True)
    axes(drawing, x, y, "MACs per DRAM byte", "MACs per cycle")
    roof = [(x.low, roof_start), (ridge, chart.peak_macs_per_cycle)]
    roof.append((x.high, chart.peak_macs_per_cycle))
    drawing.path([(x(a), y(b)) for a, b in roof], "roof-line")
    text = f"array: {short(chart.peak_macs_per_cycle)} MACs per cycle"
    drawing.text((x.end - 4, y(chart.peak_macs_per_cycle) - 6), text, "tag", "end")
    text = f"port: {short(chart.bytes_per_cycle)} bytes per cycle"
    # Above the slope, which rises to the right: its height at the end of the text decides.
    share = min((6 + text_width(text)) / (x.end - x.start), 1.0)
    ending = x.low * (x.high / x.low) ** share
    above = min(ending * chart.bytes_per_cycle, chart.peak_macs_per_cycle)
    drawing.text((x.start + 6, y(above) - 10), text, "tag")
    for dot in chart.dots:
        radius = 4.5 if dot.kind == "chosen-layer" else 3.5
        drawing.dot(
            (x(dot.macs_per_byte), y(dot.macs_per_cycle)), radius, f"dot {dot.kind}", dot.tip
        )
    return drawing.finish()


def draw_scatter(chart: ScatterChart, size: Size) -> str:
    """Predicted against measured on equal axes, with the line where both are equal."""
    drawing = Drawing(size, f"{chart.y_name} against {chart.x_name}")
    values = [value for dot in chart.dots for value in dot]
    x = fit(values, _LEFT, size.width - _RIGHT)
    y = fit(values, size.height - _BOTTOM, _TOP)
    axes(drawing, x, y, chart.x_name, chart.y_name)
    drawing.line((x.start, y.start), (x.end, y.end), "equal-line")
    drawing.dots([(x(measured), y(predicted)) for measured, predicted in chart.dots], 2,
                 "dots sample")  # fmt: skip
    return drawing.finish()
