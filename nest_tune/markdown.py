"""Text of users in Markdown."""

from __future__ import annotations

import re

from compiler_core.files.visible import visible


def cell(text: str) -> str:
    """Text on one line that no table or HTML of Markdown takes for its own."""
    line = visible(" ".join(re.split("[ \t\n]+", text)).strip())
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", line)
