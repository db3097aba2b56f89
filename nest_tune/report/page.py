"""The HTML page of a report: a template with every value escaped, drawings inlined, no network."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compiler_core.accuracy.metric import shown_name
from compiler_core.files.visible import visible_lines
from nest_tune.figures import figure, percent
from nest_tune.redaction import redact
from nest_tune.report.charts import (
    both,
    draw_front,
    draw_progress,
    draw_roofline,
    draw_scatter,
)
from nest_tune.report.data import ReportData
from nest_tune.report.gantt import draw_gantt
from nest_tune.study.proposals.evidence import interval_text

_TEMPLATE = "report.html.j2"
_ALONE = """
.sheet { fill: var(--panel); stroke: var(--rule) }
svg .heading { font-size: 14px; font-weight: 600 }
"""
"""What drawings need that stand on a sheet of their own."""


def page(data: ReportData) -> str:
    """A report as one HTML document."""
    folder = resources.files("nest_tune.report")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "metric": lambda value, name: figure(value, shown_name(name, data.metric)),
        "interval": interval_text,
        "percent": percent,
        "ms": _milliseconds,
        "change": _change,
        "breakable": _breakable,
        "together": lambda text: text.replace(" %", "\u00a0%"),
    }
    compiled = data.compiled
    # Drawings escape what they are given themselves; nothing else is marked as safe.
    drawings = {
        "fronts": [Markup(both(draw_front, chart)) for chart in data.fronts],
        "progress": [Markup(both(draw_progress, chart)) for chart in data.progress],
        "gantt": None if compiled.gantt is None else Markup(both(draw_gantt, compiled.gantt)),
        "rooflines": [Markup(both(draw_roofline, chart)) for chart in compiled.rooflines],
        "predictions": [Markup(both(draw_scatter, own.chart)) for own in data.predictions],
        "picture": Markup(compiled.picture),
        "arena": Markup(compiled.sources.arena),
    }
    template = environment.from_string((folder / _TEMPLATE).read_text("utf-8"))
    damage = _damage(compiled.alone_db)
    text = template.render(
        data=data,
        labels=data.labels,
        drawings=drawings,
        style=Markup(style()),
        script=Markup(_script()),
        script_digest=_digest(_script()),
        damage=damage,
    )
    return redact(text)


def _script() -> str:
    """Small interactions; the page shows everything without them."""
    return (resources.files("nest_tune.report") / "report.js").read_text("utf-8")


def _digest(text: str) -> str:
    """What the page's content policy names a script by."""
    found = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{found}"


def style() -> str:
    """The style sheet of pages and drawings."""
    return (resources.files("nest_tune.report") / "report.css").read_text("utf-8")


def drawing_style() -> str:
    """What the style sheet says of colours and of drawings, for drawings that stand alone."""
    text = style()
    colours = text[: text.index("* {")]
    drawings = text[text.index("svg text {") : text.index(".plan {")]
    return colours + drawings + _ALONE


def _damage(alone_db: Mapping[str, float]) -> dict[str, float]:
    """Noise of each layer alone beside that of the worst one, in decibels from 0 to 1."""
    if not alone_db:
        return {}
    low, high = min(alone_db.values()), max(alone_db.values())
    span = (high - low) or 1.0
    return {name: 0.05 + 0.95 * (high - value) / span for name, value in alone_db.items()}


def _shown(value: object) -> object:
    """Text of others with its control characters shown; drawings have done so themselves."""
    return visible_lines(value) if type(value) is str else value


def _breakable(text: str) -> Markup:
    """Names of several operators, which may be broken between these."""
    return Markup("+<wbr>").join(visible_lines(text).split("+"))


def _change(value: float, metric: str) -> str:
    """By how much a metric changes, for people; nothing is rounded to no change."""
    if not value:
        return "0"
    text = figure(value, metric)
    if float(text.replace(",", "")) == 0:
        text = f"{value:.2g}"
    return text if value < 0 else f"+{text}"


def _milliseconds(value: float) -> str:
    return figure(value, "latency_ms")
