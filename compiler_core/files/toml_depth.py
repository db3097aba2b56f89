"""How deep a TOML file nests, counted before it is parsed.

A parser keeps every beginning of a dotted key, so that a key of 50,000 parts in 100 kB takes ten
gigabytes. One pass over the text finds the longest key and the deepest bracket.
"""

from __future__ import annotations

import re

from compiler_core.errors import InputError

DEPTH_MAX = 64
"""Parts of a dotted key, and brackets within brackets; files of this project stay below ten."""

_TOKEN = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]++|\\.)*+(?:"|(?=\n)|\Z)'
    r"|'[^'\n]*+(?:'|(?=\n)|\Z)"
    r"|\#[^\n]*+"
    r"|[.\[\]{}=,\n]",
    re.DOTALL,
)
"""Texts and comments, which are skipped whole, and the marks that count. A text without an end is
skipped to the end of the file, where the parser refuses it; so the pass is linear."""


def check_toml_depth(text: str, where: str) -> None:
    """Refuses text that nests deeper than :data:`DEPTH_MAX`.

    Args:
        text: What a parser would read; where it is no TOML, the parser says so afterwards.
        where: Begins the message of an error.

    Raises:
        InputError: Names line, depth and bound.
    """
    dots, brackets = 0, 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark == ".":
            dots += 1
        elif mark in ("\n", "=", ",", "[", "]", "{", "}"):
            dots = 0
            brackets = max(0, brackets + (mark in "[{") - (mark in "]}"))
        if dots >= DEPTH_MAX or brackets > DEPTH_MAX:
            line = text.count("\n", 0, token.start()) + 1
            kind = "brackets within brackets" if brackets > DEPTH_MAX else "parts of one dotted key"
            raise InputError(
                f"{where}: line {line}: more than {DEPTH_MAX} {kind}; at most {DEPTH_MAX} are read",
                hint="write one [table] per part of the document, nested as its reference says",
            )
