"""Text of users in Markdown."""

from __future__ import annotations

import re


def cell(text: str) -> str:
    """Text on one line that no table or HTML of Markdown takes for its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", " ".join(text.split()))
