"""Draws picture.svg, the front and the timeline of a study, as its report draws them.

After ``make demo``: ``python docs/picture.py digits sqlite:///out/nest-tune.db``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nest_tune.api.study import Study
from nest_tune.report.charts import FrontChart, draw_front
from nest_tune.report.collect import collect
from nest_tune.report.gantt import Gantt, draw_gantt
from nest_tune.report.page import drawing_style
from nest_tune.report.svg import WIDE, Drawing, Size, text_width

_MARGIN, _HEADING = 14, 30


def picture(front: FrontChart, gantt: Gantt, headings: tuple[str, str]) -> str:
    """Both charts on one sheet that follows the reader's light or dark scheme.

    Args:
        front, gantt: Charts of a report.
        headings: Above each of them.
    """
    broken = any(dot.kind == "infeasible" for dot in front.dots)
    trials = (*_TRIALS, ("dot infeasible", "breaks a limit")) if broken else _TRIALS
    sheet = Drawing(Size("picture", WIDE.width + 2 * _MARGIN, 0), "; ".join(headings))
    top = _MARGIN
    for heading, drawn, marks in (
        (headings[0], draw_front(front, WIDE), trials),
        (headings[1], draw_gantt(gantt, WIDE), _STEPS),
    ):
        height = int(drawn.split('viewBox="', 1)[1].split('"', 1)[0].split()[3])
        sheet.text((_MARGIN + 4, top + 16), heading, "heading")
        right = sheet.size.width - _MARGIN - 12.0
        for kind, name in reversed(marks):
            left = right - text_width(name)
            sheet.text((left, top + 16), name, "tick")
            if kind.startswith("dot"):
                sheet.dot((left - 10, top + 12), 4.5, kind)
            else:
                sheet.box((left - 18, top + 7), 12, 10, kind)
            right = left - 34
        place = f'x="{_MARGIN}" y="{top + _HEADING}" width="{WIDE.width}" height="{height}"'
        sheet.parts.append(drawn.replace("<svg ", f"<svg {place} ", 1))
        top += _HEADING + height + _MARGIN
    sheet.size = Size("picture", sheet.size.width, top)
    width = f'xmlns="http://www.w3.org/2000/svg" width="{sheet.size.width}" height="{top}"'
    text = sheet.finish().replace("<svg ", f"<svg {width} ", 1)
    head, _, body = text.partition(">")
    background = (
        f'<rect class="sheet" x="0.5" y="0.5" rx="10" width="{sheet.size.width - 1}" '
        f'height="{top - 1}"/>'
    )
    return f"{head}><style>{drawing_style()}</style>{background}{body}\n"


_TRIALS = (
    ("dot front", "front"),
    ("dot chosen", "chosen"),
    ("dot default", "default"),
    ("dot feasible", "other trials"),
)
_STEPS = (
    ("run npu", "program on the NPU"),
    ("run cpu", "operator on the CPU"),
    ("run conversion", "conversion"),
    ("run launch", "launch"),
)


def main(name: str, storage: str) -> None:
    """Writes the picture of a study beside this file."""
    data = collect(Study.open(name, storage).result)
    assert data.compiled.gantt is not None, "nothing is chosen"
    trials = sum(data.outcomes.values())
    headings = (
        f"{trials} trials of study {data.name} on {data.target}",
        f"One run of trial {data.chosen}",
    )
    file = Path(__file__).with_name("picture.svg")
    file.write_text(picture(data.fronts[0], data.compiled.gantt, headings), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
