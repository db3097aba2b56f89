"""The timeline chart: what the CPU and each NPU core do, and how busy a core's modules are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nest_tune.figures import percent
from nest_tune.report.scale import Scale, short
from nest_tune.report.svg import Drawing, Size, text_width

_ROW, _STRIP, _GAP, _TOP = 30.0, 14.0, 8.0, 8.0
_LEVELS = 10


@dataclass(frozen=True)
class GanttBar:
    """Something that runs for a while.

    Attributes:
        start_ms, end_ms: When.
        name: Of the layer.
        kind: Class: ``cpu``, ``npu``, ``conversion``, ``launch``.
        tip: More about it.
    """

    start_ms: float
    end_ms: float
    name: str
    kind: str
    tip: str


@dataclass(frozen=True)
class Track:
    """One unit."""

    name: str
    stretches: tuple[GanttBar, ...]


@dataclass(frozen=True, eq=False)
class Strip:
    """How busy a module is.

    Attributes:
        name: Of the module.
        busy: ``float64[bins]``, share of each equal part of the latency.
    """

    name: str
    busy: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gantt:
    """A run of the model.

    Attributes:
        latency_ms: From start to end.
        tracks: CPU first, then cores.
        strips: Modules of all cores together.
    """

    latency_ms: float
    tracks: tuple[Track, ...]
    strips: tuple[Strip, ...]


def draw_gantt(chart: Gantt, size: Size) -> str:
    """Stretches on one row per unit, below them a strip per module."""
    rows = len(chart.tracks) * (_ROW + _GAP) + len(chart.strips) * (_STRIP + 4)
    size = Size(size.name, size.width, round(rows + _TOP + 44))
    drawing = Drawing(size, f"timeline of {chart.latency_ms:.4g} ms")
    left = 62.0
    bottom = size.height - 40.0
    x = Scale(0.0, chart.latency_ms or 1.0, left, size.width - 14.0)
    for value in x.ticks(4 if size.is_narrow else 9):
        drawing.line((x(value), _TOP), (x(value), bottom), "grid")
        drawing.text((x(value), bottom + 16), short(value), "tick", "middle")
    drawing.text((x.end, bottom + 32), "ms", "name", "end")
    height = _TOP
    for track in chart.tracks:
        drawing.text((left - 8, height + _ROW / 2 + 4), track.name, "tick", "end")
        drawing.box((left, height), x.end - left, _ROW, "lane")
        for stretch in track.stretches:
            _draw_stretch(drawing, x, height, stretch)
        height += _ROW + _GAP
    for strip in chart.strips:
        drawing.text((left - 8, height + _STRIP - 3), strip.name, "tick", "end")
        drawing.box((left, height), x.end - left, _STRIP, "lane")
        _draw_strip(drawing, x, height, strip)
        height += _STRIP + 4
    return drawing.finish()


def _draw_stretch(drawing: Drawing, x: Scale, top: float, stretch: GanttBar) -> None:
    start, end = x(stretch.start_ms), x(stretch.end_ms)
    kind = f"run {stretch.kind}"
    drawing.box((start, top + 2), max(end - start, 0.4), _ROW - 4, kind, stretch.tip)
    room = int((end - start - 8) / text_width("m"))
    if room >= 4:
        name = stretch.name
        shown = name if len(name) <= room else f"{name[: room - 1]}…"
        drawing.text((start + 4, top + _ROW / 2 + 4), shown, "inside")


def _draw_strip(drawing: Drawing, x: Scale, top: float, strip: Strip) -> None:
    """Neighbouring parts of one level become one box."""
    levels = np.round(strip.busy * _LEVELS).astype(int)
    width = (x.end - x.start) / len(levels)
    borders = [0, *(np.flatnonzero(np.diff(levels)) + 1).tolist(), len(levels)]
    for first, last in pairwise(borders):
        if level := int(levels[first]):
            corner = (x.start + first * width, top + 1)
            tip = f"{strip.name}: {percent(level / _LEVELS, 0)} busy"
            drawing.box(
                corner, (last - first) * width, _STRIP - 2, "busy", tip, max(level / _LEVELS, 0.15)
            )


def busy_shares(
    starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64], total: float, bins: int
) -> npt.NDArray[np.float64]:
    """Share of each of ``bins`` equal parts of ``total`` that disjoint intervals cover.

    Args:
        starts, ends: ``float64[n]``.
        total: End of the last part.
        bins: How many parts.
    """
    edges = np.linspace(0.0, total, bins + 1)
    order = np.argsort(starts)
    begun, ended = starts[order], ends[order]
    sums = np.concatenate([[0.0], np.cumsum(ended - begun)])
    last = np.searchsorted(begun, edges, side="right")
    covered = sums[last]  # up to each edge, the end of the last interval ahead of it included
    inside = last > 0
    over = np.zeros(bins + 1)
    over[inside] = np.maximum(0.0, ended[last[inside] - 1] - edges[inside])
    shares: npt.NDArray[np.float64] = np.diff(covered - over) / (total / bins)
    return np.clip(shares, 0.0, 1.0)
