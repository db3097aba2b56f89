"""Text from outside as part of an XML document."""

from __future__ import annotations

import re
from html import escape

from compiler_core.files.visible import visible_lines

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (production 2, Char)."""


def xml_characters(text: str) -> str:
    """The text with control characters shown and U+FFFD for what else XML cannot hold.

    For writers that escape by themselves.
    """
    return _FORBIDDEN.sub("\ufffd", visible_lines(text))


def xml_text(text: str) -> str:
    """The same, escaped for content and quoted attributes."""
    return escape(xml_characters(text))
