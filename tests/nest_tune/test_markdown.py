"""Text of users in Markdown: what two services would make of it, and what they must not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.markdown import cell

# What GitHub and GitLab look for in the text that is shown, in words of their documentation.
REFERENCES = (
    r"@[\w]", r"(?i)\bgh-\d", r"#[\w\"']", r"![\w\"']", r"~[\w\"']", r"&[\w\"']", r"%[\w\"']",
    r"\$[\w]", r"(?i)\bwww\.", r"://", r"(?i)\b(mailto|xmpp):",
)  # fmt: skip


def _shown(markdown: str) -> list[str]:
    """Pieces of text as a page holds them: escapes gone, cut where comments stand."""
    return [re.sub(r"\\(.)", r"\1", piece) for piece in markdown.split("<!-- -->")]


@pytest.mark.parametrize(
    "text",
    [
        "@octocat", "a @org/team b", "fixes #1", "GH-12 gh-3", "group/project!7", "&5", "%3", "$8",
        '~"bug" ~bug', "https://evil.example/x", "www.evil.example", "me@evil.example",
        "mailto:me", "layer_@all_1", "[x](http://evil)", "@_name", "@everyone|@here",
    ],
)  # fmt: skip
def test_nobody_is_told_and_nothing_is_linked(text: str) -> None:
    markdown = cell(text)
    for piece in _shown(markdown):
        assert not any(re.search(pattern, piece) for pattern in REFERENCES), markdown
    assert "".join(_shown(markdown)) == text


@given(st.text("""@#!~&%$:/.wWgGhH-m1a _\\"'""", max_size=12))
def test_no_text_is_a_reference(text: str) -> None:
    markdown = cell(text)
    for piece in _shown(markdown):
        assert not any(re.search(pattern, piece) for pattern in REFERENCES), markdown


def test_ordinary_text_stays() -> None:
    assert cell("latency_ms <= 3 %  of a|b") == r"latency\_ms \<= 3 % of a\|b"
    assert cell("0.5 ms at 50%, 3 $") == "0.5 ms at 50%, 3 $"
