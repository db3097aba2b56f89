"""The arena of generated C as a picture: addresses upwards, operators to the right."""

from __future__ import annotations

from compiler_core.units.facets.bundles import ArenaUse, BundleReport
from nest_tune.report.page import drawing_style
from nest_tune.report.scale import Scale
from nest_tune.report.svg import Drawing, Size, axes, text_width

_WIDTH, _HEIGHT = 860, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 40, 46
_LEAST_LABEL = 13.0
_OWN = """
.held { fill: var(--npu-fill); stroke: var(--npu) }
.scratch { fill: var(--cpu-fill); stroke: var(--cpu) }
"""


def draw_arena(report: BundleReport) -> str:
    """What lies where in the arena, operator by operator, as an SVG file of its own.

    Args:
        report: Of a package; boxes are its buffers, with name, bytes and operators as tooltips.
    """
    steps = max(1, len(report.operators))
    title = f"{report.name} on {report.target}: arena of {report.arena_bytes:,} bytes"
    drawing = Drawing(Size("arena", _WIDTH, _HEIGHT), title)
    x = Scale(0, steps, _LEFT, _WIDTH - _RIGHT)
    y = Scale(0, max(1, report.arena_bytes), _HEIGHT - _BOTTOM, _TOP)
    drawing.text((14, 22), title, "heading")
    axes(drawing, x, y, "operators", "", whole_x=True)
    for item in sorted(report.arena, key=lambda use: (use.first, use.offset)):
        _box(drawing, report, item, x, y)
    drawing.line((x.start, y(report.arena_bytes)), (x.end, y(report.arena_bytes)), "line limit")
    return _alone(drawing)


def _box(drawing: Drawing, report: BundleReport, item: ArenaUse, x: Scale, y: Scale) -> None:
    left, right = x(item.first), x(item.last + 1)
    bottom, top = y(item.offset), y(item.offset + item.size_bytes)
    names = [operator.name for operator in report.operators[item.first : item.last + 1]]
    span = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
    tip = f"{item.name}: {item.size_bytes:,} bytes at {item.offset:,}; {span}"
    kind = "scratch" if item.name == "scratch" else "held"
    drawing.box((left, top), right - left, bottom - top, kind, tip)
    if bottom - top >= _LEAST_LABEL and text_width(item.name) < right - left - 6:
        drawing.text((left + 4, (top + bottom) / 2 + 4), item.name)


def _alone(drawing: Drawing) -> str:
    """A drawing with the colours of the report, light or dark as its reader has it."""
    size = f'xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
    head, _, body = drawing.finish().replace("<svg ", f"<svg {size} ", 1).partition(">")
    sheet = f'<rect class="sheet" width="{_WIDTH}" height="{_HEIGHT}" rx="10"/>'
    return f"{head}><style>{drawing_style()}{_OWN}</style>{sheet}{body}\n"
