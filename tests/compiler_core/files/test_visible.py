"""No character that steers a terminal or reorders a line is left; all others stay."""

from __future__ import annotations

import json
import tomllib
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.files.visible import json_visible, toml_visible, visible, visible_lines

MARKS = "\x1b[31m\x07\x7f\x9b\u202e\u2066\u200f\u2028\x85\r\ud800\U000e0041"


def test_marks_become_escapes() -> None:
    assert visible("a\x1b[31mb\u202ec\nd\te") == "a\\x1b[31mb\\u202ec\\nd\\te"
    assert visible_lines("a\x9b\nb\U000e0041") == "a\\x9b\nb\\U000e0041"


@given(st.text() | st.text(alphabet=MARKS))
def test_only_what_can_be_seen_is_left(text: str) -> None:
    for character in visible(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        )  # fmt: skip
    assert visible(visible(text)) == visible(text)
    assert visible_lines(text).count("\n") == text.count("\n")


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_other_text_stays(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_documents_say_the_same(text: str) -> None:
    document = json_visible(json.dumps({"x": text}, ensure_ascii=False))
    assert json.loads(document) == {"x": text}
    document.encode()
    if not any(unicodedata.category(character) == "Cs" for character in text):
        toml = toml_visible("x = " + json.dumps(text, ensure_ascii=False))
        assert tomllib.loads(toml) == {"x": text}


def test_long_names_are_counted() -> None:
    name = "ab" * 500_000
    told = visible(f"operator {name} of {name!r} with {'x' * 400}")
    assert len(told) < 1_500
    assert told.count("…(1,000,000 characters)…") == 1
    assert told.startswith("operator abab")
    assert told.endswith("x" * 400)
    assert len(visible("a b " * 500_000)) < 20_000
    assert visible_lines(name) == name
