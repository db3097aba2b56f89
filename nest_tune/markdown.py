"""Text of users in Markdown."""

from __future__ import annotations

import re

from compiler_core.files.visible import visible

_SYNTAX = re.compile(r"([\\`*_{}\[\]<>|#!~&])")
# GitHub and GitLab look for these in the text that is shown, after escapes are gone: people,
# issues, merge requests, labels, epics, milestones and snippets, then addresses.
_REFERENCE = re.compile(r"""(@|[#!~&%$](?=[\w"'\\])|\bGH-(?=\d))""", re.IGNORECASE)
_ADDRESS = re.compile(r"(:)(?=//)|\b(www|mailto|xmpp)(?=[.:])", re.IGNORECASE)
_NOTHING = "<!-- -->"
"""Ends a word where nothing is seen."""


def cell(text: str) -> str:
    """Text on one line that no table or HTML of Markdown takes for its own, and in which nothing
    notifies a person or links to somewhere."""
    line = visible(" ".join(re.split("[ \t\n]+", text)).strip())
    escaped = _SYNTAX.sub(r"\\\1", line)
    return _ADDRESS.sub(rf"\g<0>{_NOTHING}", _REFERENCE.sub(rf"\1{_NOTHING}", escaped))
