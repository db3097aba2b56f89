"""Text of others made visible: what would steer a terminal or reorder a line is shown as an escape.

Names of operators, tensors, files and studies come from outside. A terminal obeys escape codes in
them, and marks of writing direction make a line read otherwise than it is written (CVE-2021-42574).
Everywhere that text leaves this project, such characters become what a Python string would show:
``\\x1b``, ``\\u202e``. Names stay as they are inside: they have to be found again in files.

Names may also be longer than all that is said of them: in a line of text the middle of longer words
is counted, not shown, and so is that of longer lines. Files and JSON hold everything.
"""

from __future__ import annotations

import re

_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls C0 and C1, but for tabulator and newline
    "\xad\u061c\u180e\u200b-\u200f"  # soft hyphen, direction marks, widths of zero
    "\u2028-\u202e\u2060-\u206f"  # line separators, embeddings, overrides, isolates
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # byte order mark, annotations, tags
    "\ud800-\udfff"  # halves of a pair: what a file name holds that is not UTF-8
)
_WORD = 400
"""Characters of a word that are shown as they are: paths stay below."""
_LINE = 20_000
_BEGINNING, _END = 3 / 4, 1 / 8
"""Parts of those lengths that are shown of what is longer."""
_LONG_WORD = re.compile(rf"\S{{{_WORD + 1},}}")
_IN_LINES = re.compile(f"[{_UNSEEN}]")
_IN_LINE = re.compile(f"[\t\n{_UNSEEN}]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str) -> str:
    """One line of text: tabulators and newlines become escapes, too, and what is long is cut."""
    return _IN_LINE.sub(_escape, _shortened(text))


def visible_lines(text: str) -> str:
    """Lines of text: tabulators and newlines stay."""
    return _IN_LINES.sub(_escape, text)


def json_visible(text: str) -> str:
    """A JSON document that says the same with these characters as JSON escapes."""
    return _IN_LINES.sub(_json_escape, text)


def toml_visible(text: str) -> str:
    """A TOML document that says the same with these characters as TOML escapes."""
    return _IN_LINES.sub(_toml_escape, text)


def _shortened(text: str) -> str:
    if len(text) <= _WORD:
        return text
    text = _LONG_WORD.sub(lambda found: _cut(found.group(), _WORD), text)
    return text if len(text) <= _LINE else _cut(text, _LINE)


def _cut(text: str, most: int) -> str:
    """The beginning and the end, and how long it is."""
    end = text[len(text) - int(most * _END) :]
    return f"{text[: int(most * _BEGINNING)]}…({len(text):,} characters)…{end}"


def _toml_escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
