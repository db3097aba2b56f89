"""Drawing: shapes as SVG text, every string from outside escaped.

Colours and fonts are classes of the page's style sheet, so that a drawing follows its light and
dark scheme. A chart is drawn twice, for a wide and a narrow page, and the style sheet shows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compiler_core.files.xml_text import xml_text
from nest_tune.report.scale import Scale, short

Place = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """Extent of a drawing in its own units, which are pixels where it is shown at full width."""

    name: str
    width: int
    height: int

    @property
    def is_narrow(self) -> bool:
        """Whether it is for a phone."""
        return self.name == "narrow"


WIDE = Size("wide", 860, 340)
NARROW = Size("narrow", 360, 300)


@dataclass
class Drawing:
    """Shapes in the order of drawing."""

    size: Size
    label: str
    parts: list[str] = field(default_factory=list)

    def line(self, one: Place, other: Place, kind: str) -> None:
        self.parts.append(
            f'<line class="{kind}" x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" '
            f'y2="{other[1]:.1f}"/>'
        )

    def path(self, places: Sequence[Place], kind: str) -> None:
        if places:
            steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            self.parts.append(f'<path class="{kind}" d="M{steps}"/>')

    def box(
        self,
        corner: Place,
        width: float,
        height: float,
        kind: str,
        tip: str = "",
        opacity: float = 1,
    ) -> None:
        faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        self.parts.append(
            f'<rect class="{kind}" x="{corner[0]:.2f}" y="{corner[1]:.1f}" width="{width:.2f}" '
            f'height="{height:.1f}"{faint}>{_tip(tip)}</rect>'
        )

    def dot(self, place: Place, radius: float, kind: str, tip: str = "") -> None:
        self.parts.append(
            f'<circle class="{kind}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:g}">'
            f"{_tip(tip)}</circle>"
        )

    def dots(self, places: Sequence[Place], radius: float, kind: str) -> None:
        """Many dots of one kind as one path of points with round ends; those that fall on the same
        half of a pixel are one."""
        halves = dict.fromkeys((round(2 * x), round(2 * y)) for x, y in places)
        points = "".join(f"M{x / 2:g} {y / 2:g}h0" for x, y in halves)
        if points:
            width = f"{2 * radius:g}"
            self.parts.append(f'<path class="{kind}" stroke-width="{width}" d="{points}"/>')

    def text(self, place: Place, text: str, kind: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text class="{kind}" x="{place[0]:.1f}" y="{place[1]:.1f}" '
            f'text-anchor="{anchor}">{xml_text(text)}</text>'
        )

    def finish(self) -> str:
        """The whole drawing."""
        return (
            f'<svg class="{self.size.name}" role="img" aria-label="{xml_text(self.label)}" '
            f'viewBox="0 0 {self.size.width} {self.size.height}">{"".join(self.parts)}</svg>'
        )


def _tip(text: str) -> str:
    return f"<title>{xml_text(text)}</title>" if text else ""


def text_width(text: str, pixels: float = 11.0) -> float:
    """About how wide a text is in a sans-serif font of that size."""
    return 0.56 * pixels * len(text)


def axes(
    drawing: Drawing, x: Scale, y: Scale, x_name: str, y_name: str, *, whole_x: bool = False
) -> None:
    """Grid, numbers and names; the vertical name stands above its axis.

    Args:
        drawing: To draw on.
        x, y: Scales.
        x_name, y_name: With units.
        whole_x: Whether there is nothing between whole numbers.
    """
    narrow = drawing.size.is_narrow
    for value in x.ticks(5 if narrow else 9):
        if whole_x and value != round(value):
            continue
        drawing.line((x(value), y.start), (x(value), y.end), "grid")
        drawing.text((x(value), y.start + 16), short(value), "tick", "middle")
    for value in y.ticks(5 if narrow else 6):
        drawing.line((x.start, y(value)), (x.end, y(value)), "grid")
        drawing.text((x.start - 6, y(value) + 4), short(value), "tick", "end")
    drawing.line((x.start, y.start), (x.end, y.start), "axis")
    drawing.line((x.start, y.start), (x.start, y.end), "axis")
    drawing.text((x.end, y.start + 32), x_name, "name", "end")
    drawing.text((4, y.end - 10), y_name, "name")
