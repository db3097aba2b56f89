"""Layers by the damage they do alone, as an SVG picture and as bars of text."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.files.xml_text import xml_text

_ROW, _BAR, _NAMES, _MARGIN = 18, 420, 260, 12
_BLOCKS = " ▏▎▍▌▋▊▉█"


def text_bar(value: float, most: float, width: int) -> str:
    """A bar of ``width`` characters at most, in eighths of a character."""
    if most <= 0 or width <= 0:
        return ""
    eighths = round(min(max(value / most, 0.0), 1.0) * width * 8)
    return ("█" * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()


def noise_bars(sqnr_db: Sequence[float]) -> list[float]:
    """Lengths of bars: how far each layer is below the cleanest one, in dB, plus one."""
    cleanest = max(sqnr_db, default=0.0)
    return [cleanest - value + 1.0 for value in sqnr_db]


def sensitivity_svg(title: str, names: Sequence[str], sqnr_db: Sequence[float]) -> str:
    """Horizontal bars, one per layer: longer is more damage.

    Args:
        title: Above the picture.
        names: Layers, in the order of drawing.
        sqnr_db: SQNR of the scores with that layer alone in integers.
    """
    bars = noise_bars(sqnr_db)
    most = max(bars, default=1.0)
    width = _NAMES + _BAR + 90 + 2 * _MARGIN
    height = _ROW * (len(names) + 2) + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f"<title>{xml_text(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 10}" font-size="13">{xml_text(title)}</text>',
    ]
    for number, (name, value, bar) in enumerate(zip(names, sqnr_db, bars, strict=True)):
        top = _MARGIN + _ROW * (number + 1.5)
        length = _BAR * bar / most
        lines += [
            f'<text x="{_MARGIN + _NAMES - 6}" y="{top + 12:.0f}" text-anchor="end">'
            f"{xml_text(_short(name))}</text>",
            f'<rect x="{_MARGIN + _NAMES}" y="{top + 3:.0f}" width="{length:.1f}" '
            f'height="{_ROW - 6}" fill="#3b6ea5"/>',
            f'<text x="{_MARGIN + _NAMES + length + 4:.1f}" y="{top + 12:.0f}">'
            f"{value:.1f} dB</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"…{name[-39:]}"
